//! [`PoolVec`] and [`PoolMap`]: collections that are read into a pool.

use super::current;
use allocator_api2::vec::Vec;
use cenote::SharedPool;
use hashbrown::{Equivalent, HashMap};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, RandomState};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// As many elements as are made room for because the format says that they will come.
const MOST_FORETOLD: usize = 64;

/// A vector in a pool, which it keeps: allocator-api2's `Vec`, that serde can read and write, and
/// that never aborts.
///
/// Where there is no memory for more, the `try_` calls return an error, and the others panic with
/// words that name the account: [`PoolLayer`](crate::PoolLayer) makes its 503 of that. (The calls
/// of `Vec` itself abort the process there; [`into_inner`](PoolVec::into_inner) gives that one.)
///
/// Reading needs a pool: [`from_slice`](super::from_slice) and [`InPool`](super::InPool) say
/// which; by other ways it is an error.
pub struct PoolVec<T>(Vec<T, SharedPool>);

/// What the calls without `try_` do where there is no memory.
#[cold]
#[inline(never)]
fn refuse(error: &crate::Error) -> ! {
    panic!("{error}")
}

fn refusal(pool: &SharedPool) -> crate::Error {
    crate::Error::Collection(pool.account().cloned())
}

impl<T> PoolVec<T> {
    /// An empty vector, which takes no memory yet.
    #[must_use]
    pub fn new_in(pool: SharedPool) -> Self {
        Self(Vec::new_in(pool))
    }

    /// The pool that it is in.
    #[must_use]
    pub fn pool(&self) -> &SharedPool {
        self.0.allocator()
    }

    /// How many elements there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Sees to it that there is room for `more` elements.
    ///
    /// # Errors
    /// [`Error::Collection`](crate::Error::Collection) where there is no memory for them. It is as
    /// it was.
    pub fn try_reserve(&mut self, more: usize) -> Result<(), crate::Error> {
        // Twice as much, as vectors grow; near a limit, what is needed may be had when that is not.
        // Only that it is not is a refusal.
        cenote::Account::try_quietly(|| self.0.try_reserve(more))
            .or_else(|_| self.0.try_reserve_exact(more))
            .map_err(|_| refusal(self.0.allocator()))
    }

    /// Sees to it that there is room for `more` elements.
    ///
    /// # Panics
    /// Where [`PoolVec::try_reserve`] fails. It is as it was.
    pub fn reserve(&mut self, more: usize) {
        self.try_reserve(more).unwrap_or_else(|error| refuse(&error));
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// [`Error::Collection`](crate::Error::Collection) where there is no memory for it. The
    /// element is dropped.
    #[inline]
    pub fn try_push(&mut self, element: T) -> Result<(), crate::Error> {
        if self.0.len() == self.0.capacity() {
            self.try_reserve(1)?;
        }
        self.0.push(element);
        Ok(())
    }

    /// Adds an element at the end.
    ///
    /// # Panics
    /// Where [`PoolVec::try_push`] fails. The element is dropped.
    #[inline]
    pub fn push(&mut self, element: T) {
        self.try_push(element).unwrap_or_else(|error| refuse(&error));
    }

    /// Puts an element in before that at `index`.
    ///
    /// # Panics
    /// Where there are fewer than `index` elements, or no memory for one more.
    pub fn insert(&mut self, index: usize, element: T) {
        self.reserve(1);
        self.0.insert(index, element);
    }

    /// Copies elements to the end.
    ///
    /// # Errors
    /// Those of [`PoolVec::try_reserve`].
    pub fn try_extend_from_slice(&mut self, elements: &[T]) -> Result<(), crate::Error>
    where
        T: Clone,
    {
        self.try_reserve(elements.len())?;
        self.0.extend_from_slice(elements);
        Ok(())
    }

    /// Copies elements to the end.
    ///
    /// # Panics
    /// Where [`PoolVec::try_extend_from_slice`] fails.
    pub fn extend_from_slice(&mut self, elements: &[T])
    where
        T: Clone,
    {
        self.try_extend_from_slice(elements).unwrap_or_else(|error| refuse(&error));
    }

    /// Takes the last element out.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Takes an element out, and closes the gap.
    ///
    /// # Panics
    /// Where there is none at `index`.
    pub fn remove(&mut self, index: usize) -> T {
        self.0.remove(index)
    }

    /// Takes an element out, and puts the last one in its place.
    ///
    /// # Panics
    /// Where there is none at `index`.
    pub fn swap_remove(&mut self, index: usize) -> T {
        self.0.swap_remove(index)
    }

    /// Keeps the first `count` elements.
    pub fn truncate(&mut self, count: usize) {
        self.0.truncate(count);
    }

    /// Takes all elements out; it keeps its room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps the elements for which `keep` returns true.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }

    /// The vector itself.
    #[must_use]
    pub fn into_inner(self) -> Vec<T, SharedPool> {
        self.0
    }
}

impl<T> From<Vec<T, SharedPool>> for PoolVec<T> {
    fn from(vec: Vec<T, SharedPool>) -> Self {
        Self(vec)
    }
}

impl<T> Deref for PoolVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for PoolVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> Extend<T> for PoolVec<T> {
    /// # Panics
    /// Where there is no memory for an element; those before it stay.
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        elements.into_iter().for_each(|element| self.push(element));
    }
}

impl<T> IntoIterator for PoolVec<T> {
    type Item = T;
    type IntoIter = allocator_api2::vec::IntoIter<T, SharedPool>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a PoolVec<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for PoolVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for PoolVec<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Serialize> Serialize for PoolVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.len()))?;
        for element in self {
            sequence.serialize_element(element)?;
        }
        sequence.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for PoolVec<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(SharedPool, PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = PoolVec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<PoolVec<T>, A::Error> {
                let mut list = PoolVec::new_in(self.0);
                let foretold = access.size_hint().unwrap_or(0).min(MOST_FORETOLD);
                list.try_reserve(foretold).map_err(|_| current::full(list.pool()))?;
                while let Some(element) = access.next_element()? {
                    list.try_push(element).map_err(|_| current::full(list.pool()))?;
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Elements(pool()?, PhantomData))
    }
}

fn pool<E: serde::de::Error>() -> Result<SharedPool, E> {
    let missing = "no pool to read into: read by way of `cenote_web::json`";
    current::pool().ok_or_else(|| E::custom(missing))
}

/// A map in a pool, which it keeps: hashbrown's `HashMap`, that serde can read and write, and that
/// never aborts.
///
/// Hashed as the standard library's, so that clients cannot choose keys that collide. Where there
/// is no memory for more, calls do as [`PoolVec`]'s do. Reading needs a pool, as for [`PoolVec`];
/// of keys that are there twice the last counts.
pub struct PoolMap<K, V>(HashMap<K, V, RandomState, SharedPool>);

impl<K, V> PoolMap<K, V> {
    /// An empty map, which takes no memory yet.
    #[must_use]
    pub fn new_in(pool: SharedPool) -> Self {
        Self(HashMap::with_hasher_in(RandomState::new(), pool))
    }

    /// The pool that it is in.
    #[must_use]
    pub fn pool(&self) -> &SharedPool {
        self.0.allocator()
    }

    /// All keys and values, to change the values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut()
    }

    /// Takes everything out; it keeps its room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps those for which `keep` returns true.
    pub fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(keep);
    }

    /// The map itself.
    #[must_use]
    pub fn into_inner(self) -> HashMap<K, V, RandomState, SharedPool> {
        self.0
    }
}

impl<K: Eq + Hash, V> PoolMap<K, V> {
    /// Sees to it that there is room for `more` keys.
    ///
    /// # Errors
    /// [`Error::Collection`](crate::Error::Collection) where there is no memory for them. It is as
    /// it was.
    pub fn try_reserve(&mut self, more: usize) -> Result<(), crate::Error> {
        self.0.try_reserve(more).map_err(|_| refusal(self.0.allocator()))
    }

    /// Sees to it that there is room for `more` keys.
    ///
    /// # Panics
    /// Where [`PoolMap::try_reserve`] fails. It is as it was.
    pub fn reserve(&mut self, more: usize) {
        self.try_reserve(more).unwrap_or_else(|error| refuse(&error));
    }

    /// Puts a value in; the one that was there under this key.
    ///
    /// # Errors
    /// [`Error::Collection`](crate::Error::Collection) where there is no memory for it. Key and
    /// value are dropped.
    pub fn try_insert(&mut self, key: K, value: V) -> Result<Option<V>, crate::Error> {
        self.try_reserve(1)?;
        Ok(self.0.insert(key, value))
    }

    /// Puts a value in; the one that was there under this key.
    ///
    /// # Panics
    /// Where [`PoolMap::try_insert`] fails. Key and value are dropped.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.reserve(1);
        self.0.insert(key, value)
    }

    /// The place of a key, whether or not there is something.
    ///
    /// # Panics
    /// Where there is no memory for one more key. The key is dropped.
    pub fn entry(
        &mut self,
        key: K,
    ) -> hashbrown::hash_map::Entry<'_, K, V, RandomState, SharedPool> {
        // So that what is put there finds room.
        self.reserve(1);
        self.0.entry(key)
    }

    /// The value under a key, to change it.
    pub fn get_mut<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// Takes the value under a key out.
    pub fn remove<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<V> {
        self.0.remove(key)
    }
}

impl<K, V> Deref for PoolMap<K, V> {
    type Target = HashMap<K, V, RandomState, SharedPool>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Eq + Hash, V> Extend<(K, V)> for PoolMap<K, V> {
    /// # Panics
    /// Where there is no memory for a key; those before it stay.
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for PoolMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K: Serialize, V: Serialize> Serialize for PoolMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, K, V> Deserialize<'de> for PoolMap<K, V>
where
    K: Deserialize<'de> + Eq + Hash,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(SharedPool, PhantomData<(K, V)>);
        impl<'de, K, V> Visitor<'de> for Entries<K, V>
        where
            K: Deserialize<'de> + Eq + Hash,
            V: Deserialize<'de>,
        {
            type Value = PoolMap<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut access: A,
            ) -> Result<PoolMap<K, V>, A::Error> {
                let mut map = PoolMap::new_in(self.0);
                while let Some((key, value)) = access.next_entry()? {
                    map.try_insert(key, value).map_err(|_| current::full(map.pool()))?;
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(Entries(pool()?, PhantomData))
    }
}
