//! [`PoolVec`] and [`PoolMap`]: collections that are read into a pool.

use super::current;
use allocator_api2::vec::Vec;
use cenote::SharedPool;
use hashbrown::HashMap;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, RandomState};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// As many elements as are made room for because the format says that they will come.
const MOST_FORETOLD: usize = 64;

/// A vector in a pool, which it keeps: allocator-api2's `Vec`, that serde can read and write.
///
/// Reading needs a pool: [`from_slice`](super::from_slice) and [`InPool`](super::InPool) say
/// which; by other ways it is an error.
pub struct PoolVec<T>(Vec<T, SharedPool>);

impl<T> PoolVec<T> {
    /// An empty vector, which takes no memory yet.
    #[must_use]
    pub fn new_in(pool: SharedPool) -> Self {
        Self(Vec::new_in(pool))
    }

    /// Adds an element at the end.
    ///
    /// # Errors
    /// [`Error::Collection`](crate::Error::Collection) where there is no memory for it. The
    /// element is dropped.
    pub fn try_push(&mut self, element: T) -> Result<(), crate::Error> {
        if self.0.try_reserve(1).is_err() {
            return Err(crate::Error::Collection(self.0.allocator().account().cloned()));
        }
        self.0.push(element);
        Ok(())
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
    type Target = Vec<T, SharedPool>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for PoolVec<T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
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
                let mut list = Vec::new_in(self.0);
                let foretold = access.size_hint().unwrap_or(0).min(MOST_FORETOLD);
                list.try_reserve(foretold).map_err(|_| current::full(list.allocator()))?;
                while let Some(element) = access.next_element()? {
                    list.try_reserve(1).map_err(|_| current::full(list.allocator()))?;
                    list.push(element);
                }
                Ok(PoolVec(list))
            }
        }
        deserializer.deserialize_seq(Elements(pool()?, PhantomData))
    }
}

fn pool<E: serde::de::Error>() -> Result<SharedPool, E> {
    let missing = "no pool to read into: read by way of `cenote_web::json`";
    current::pool().ok_or_else(|| E::custom(missing))
}

/// A map in a pool, which it keeps: hashbrown's `HashMap`, that serde can read and write.
///
/// Hashed as the standard library's, so that clients cannot choose keys that collide. Reading
/// needs a pool, as for [`PoolVec`]; of keys that are there twice the last counts.
pub struct PoolMap<K, V>(HashMap<K, V, RandomState, SharedPool>);

impl<K, V> PoolMap<K, V> {
    /// An empty map, which takes no memory yet.
    #[must_use]
    pub fn new_in(pool: SharedPool) -> Self {
        Self(HashMap::with_hasher_in(RandomState::new(), pool))
    }

    /// The map itself.
    #[must_use]
    pub fn into_inner(self) -> HashMap<K, V, RandomState, SharedPool> {
        self.0
    }
}

impl<K: Eq + Hash, V> PoolMap<K, V> {
    /// Puts a value in; the one that was there under this key.
    ///
    /// # Errors
    /// [`Error::Collection`](crate::Error::Collection) where there is no memory for it. Key and
    /// value are dropped.
    pub fn try_insert(&mut self, key: K, value: V) -> Result<Option<V>, crate::Error> {
        if self.0.try_reserve(1).is_err() {
            return Err(crate::Error::Collection(self.0.allocator().account().cloned()));
        }
        Ok(self.0.insert(key, value))
    }
}

impl<K, V> Deref for PoolMap<K, V> {
    type Target = HashMap<K, V, RandomState, SharedPool>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K, V> DerefMut for PoolMap<K, V> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
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
                    map.0.try_reserve(1).map_err(|_| current::full(map.0.allocator()))?;
                    map.0.insert(key, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(Entries(pool()?, PhantomData))
    }
}
