//! CRC-32 (IEEE 802.3, the one of gzip and `zlib.crc32`), sixteen bytes a step, so that checking a
//! body costs less than moving it.

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;
/// Bytes taken in one step.
const STRIDE: usize = 16;

/// `TABLES[n][b]` is the effect of byte `b` with `n` bytes after it.
static TABLES: [[u32; 256]; STRIDE] = tables();

const fn tables() -> [[u32; 256]; STRIDE] {
    let mut tables = [[0_u32; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut after = 1;
    while after < STRIDE {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[after - 1][byte];
            tables[after][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        after += 1;
    }
    tables
}

/// The checksum of `crc`'s bytes followed by `bytes`; 0 is the checksum of nothing.
pub(crate) fn extend(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    for stride in strides {
        let mut stride = *stride;
        for (byte, mixed) in stride.iter_mut().zip(crc.to_le_bytes()) {
            *byte ^= mixed;
        }
        crc = 0;
        for (at, byte) in stride.iter().enumerate() {
            crc ^= TABLES[STRIDE - 1 - at][usize::from(*byte)];
        }
    }
    for byte in rest {
        crc = (crc >> 8) ^ TABLES[0][usize::from(crc.to_le_bytes()[0] ^ byte)];
    }
    !crc
}

/// The checksum of two texts one after the other, the second of `second_bytes` bytes.
pub(crate) fn join(first: u32, second: u32, second_bytes: u64) -> u32 {
    product(power_of_x(second_bytes), first) ^ second
}

/// The checksum of `block_bytes` bytes with checksum `block`, `times` times over.
pub(crate) fn repeat(block: u32, block_bytes: u64, mut times: u64) -> u32 {
    let (mut sum, mut doubled, mut doubled_bytes) = (0, block, block_bytes);
    while times > 0 {
        if times & 1 == 1 {
            sum = join(sum, doubled, doubled_bytes);
        }
        times >>= 1;
        if times > 0 {
            doubled = join(doubled, doubled, doubled_bytes);
            doubled_bytes *= 2;
        }
    }
    sum
}

/// The product of two polynomials modulo the polynomial, bits reversed.
fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    for bit in (0..32).rev() {
        if a >> bit & 1 == 1 {
            sum ^= b;
        }
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
    }
    sum
}

/// x to the power of 8 times `bytes`, by squaring.
fn power_of_x(bytes: u64) -> u32 {
    let mut square = 1 << (31 - 8);
    let mut power = 1 << 31;
    let mut left = bytes;
    while left > 0 {
        if left & 1 == 1 {
            power = product(square, power);
        }
        square = product(square, square);
        left >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard_is_met() {
        assert_eq!(extend(0, b"123456789"), 0xcbf4_3926);
        assert_eq!(extend(0, b""), 0);
    }

    #[test]
    fn pieces_of_any_size_give_the_checksum_of_the_whole() {
        let text: Vec<u8> = (0..1000_u32).map(|at| (at * at / 7) as u8).collect();
        for cut in [0, 1, 15, 16, 17, 333, 999, 1000] {
            let (first, second) = text.split_at(cut);
            assert_eq!(extend(extend(0, first), second), extend(0, &text));
            let joined = join(extend(0, first), extend(0, second), second.len() as u64);
            assert_eq!(joined, extend(0, &text));
        }
    }

    #[test]
    fn a_repeated_block_needs_no_second_reading() {
        for times in [0, 1, 2, 3, 10, 37] {
            let sum = repeat(extend(0, b"gatehouse"), 9, times);
            assert_eq!(sum, extend(0, &b"gatehouse".repeat(times as usize)));
        }
    }
}
