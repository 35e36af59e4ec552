//! Values under small tokens that are never valid twice: a late event of a closed connection finds
//! nothing, not its successor.

/// The values. A token is the place in the low half and its generation in the high half.
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub fn insert(&mut self, value: T) -> u64 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() - 1
        });
        let (generation, slot) = &mut self.slots[at];
        *slot = Some(value);
        u64::from(*generation) << 32 | at as u64
    }

    pub fn find(&mut self, token: u64) -> Option<&mut T> {
        let (generation, slot) = self.slots.get_mut(place(token))?;
        slot.as_mut().filter(|_| u64::from(*generation) == token >> 32)
    }

    pub fn remove(&mut self, token: u64) -> Option<T> {
        self.find(token)?;
        let (generation, slot) = &mut self.slots[place(token)];
        *generation = generation.wrapping_add(1);
        self.free.push(place(token));
        slot.take()
    }

    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.free.clear();
        std::mem::take(&mut self.slots).into_iter().filter_map(|(_, slot)| slot)
    }
}

fn place(token: u64) -> usize {
    (token & u64::from(u32::MAX)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_removed_value_finds_nothing_even_when_its_place_is_taken() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(place(first), place(second));
        assert_eq!(slab.find(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.find(second), Some(&mut 'b'));
        assert_eq!(slab.drain().collect::<Vec<_>>(), ['b']);
    }
}
