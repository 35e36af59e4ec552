//! Orders and places that may never change: the first generation's, and our own from here on.

use crate::pool::{CRC_RING, RING, endpoint, pool, weighted};
use gatehouse_core::balance::{crc32, hash64};
use gatehouse_core::plan::Balance;

#[test]
fn weighted_turns_are_nginxs() {
    let mut four = pool(Balance::WeightedRoundRobin, weighted(&[4, 3, 2, 1]));
    assert_eq!(four.picks(20), "a b c a b d a c b a a b c a b d a c b a");
    let mut two = pool(Balance::WeightedRoundRobin, weighted(&[10, 20]));
    assert_eq!(two.picks(6), "b a b b a b");
    let mut one = pool(Balance::WeightedRoundRobin, weighted(&[5, 1, 1]));
    assert_eq!(one.picks(7), "a a b a c a a");
}

#[test]
fn turns_start_at_the_first() {
    let mut turns = pool(Balance::RoundRobin, weighted(&[9, 1, 1]));
    assert_eq!(turns.picks(7), "a b c a b c a");
}

const NODE_2003: &str = "http://127.0.0.1:2003/base";
const NODE_2004: &str = "http://127.0.0.1:2004/base";

/// The first generation's ring of two nodes, from its own output.
const CRC_POINTS: [(u32, &str); 20] = [
    (0x21a6_de7c, NODE_2004),
    (0x2339_0ecc, NODE_2003),
    (0x2cf4_7ec8, NODE_2003),
    (0x31f1_4e70, NODE_2004),
    (0x3ca3_eec4, NODE_2003),
    (0x3e3c_3e74, NODE_2004),
    (0x4278_6589, NODE_2003),
    (0x4db5_158d, NODE_2003),
    (0x4f2a_c53d, NODE_2004),
    (0x50b0_2535, NODE_2004),
    (0x522f_f585, NODE_2003),
    (0x5f7d_5531, NODE_2004),
    (0x8265_63b3, NODE_2004),
    (0x8da8_13b7, NODE_2004),
    (0x90ad_230f, NODE_2003),
    (0x9f60_530b, NODE_2003),
    (0xe324_08f6, NODE_2004),
    (0xece9_78f2, NODE_2004),
    (0xf1ec_484a, NODE_2003),
    (0xfe21_384e, NODE_2003),
];

#[test]
fn the_crc_ring_has_the_first_generations_points() {
    let mut points: Vec<(u32, &str)> = [NODE_2003, NODE_2004]
        .into_iter()
        .flat_map(|node| (0..10).map(move |at| (crc32(format!("{at}{node}").as_bytes()), node)))
        .collect();
    points.sort_unstable();
    assert_eq!(points, CRC_POINTS);
}

#[test]
fn the_crc_ring_sends_keys_where_the_first_generation_did() {
    let list = vec![endpoint(NODE_2003, 1), endpoint(NODE_2004, 50)];
    let mut ring = pool(CRC_RING, list);
    for (key, expected) in [
        ("127.0.0.1:50000", NODE_2003),
        ("192.168.1.1:40000", NODE_2004),
        ("/", NODE_2004),
        ("", NODE_2004),
    ] {
        assert_eq!(ring.owner(key), expected, "{key}");
    }
    for at in 0..2_000 {
        let key = format!("10.0.0.1:{at}");
        let behind = CRC_POINTS.iter().find(|(point, _)| *point >= crc32(key.as_bytes()));
        assert_eq!(ring.owner(&key), behind.unwrap_or(&CRC_POINTS[0]).1, "{key}");
    }
}

#[test]
fn our_own_hash_and_rings_are_pinned() {
    let hashes = ["", "a", "12345678", "10.0.0.7", "a key of more than sixteen bytes"];
    let hashes = hashes.map(|key| hash64(key.as_bytes()));
    let pinned = [
        0xa706_dd2f_4d19_7e6f,
        0xc73c_afda_1a5e_f526,
        0x5914_e438_4665_4764,
        0x40f8_c556_e117_fbd3,
        0xc302_c190_a684_dd6e,
    ];
    assert_eq!(hashes, pinned);
    let keys = ["10.0.0.1", "10.0.0.2", "ann", "bob", "eve", "/cart", "x", "y"];
    let owners = |balance| {
        let mut ring = pool(balance, weighted(&[1, 2, 3, 4, 5]));
        keys.map(|key| ring.owner(key)).concat()
    };
    assert_eq!(owners(RING), "dbeeedeb");
    assert_eq!(owners(Balance::Maglev), "ecddecdc");
}
