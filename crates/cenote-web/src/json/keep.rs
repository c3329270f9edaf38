//! [`InPool`]: the way from a format to what is read, on which strings are put into the pool.
//!
//! A format hands strings out as borrowed from its input, or for the moment only. What is read
//! wants to borrow them for as long as the pool is there. So everything between the two is
//! wrapped ([`Way`]), and where a string passes, a [`Keep`] says what becomes of it.

use super::current;
use cenote::SharedPool;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::fmt;
use std::marker::PhantomData;

/// A seed by which a `T` is read into a pool, from any format.
///
/// ```
/// use cenote::SharedPool;
/// use cenote_web::json::{InPool, PoolVec};
/// use serde::de::DeserializeSeed;
/// let pool = SharedPool::new();
/// let mut format = serde_json::Deserializer::from_str(r#"["a", "b\n"]"#);
/// let list: PoolVec<&str> = InPool::new(&pool).deserialize(&mut format)?;
/// assert_eq!(list[1], "b\n");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub struct InPool<'p, T> {
    pool: &'p SharedPool,
    of: PhantomData<T>,
}

impl<'p, T: Deserialize<'p>> InPool<'p, T> {
    /// A seed for this pool.
    #[must_use]
    pub fn new(pool: &'p SharedPool) -> Self {
        Self { pool, of: PhantomData }
    }
}

impl<'de, 'p, T: Deserialize<'p>> DeserializeSeed<'de> for InPool<'p, T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, format: D) -> Result<T, D::Error> {
        current::with(self.pool, || T::deserialize(Way::new(format, Copying::new(self.pool))))
    }
}

impl<T> fmt::Debug for InPool<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InPool").field(self.pool).finish()
    }
}

/// A seed as [`InPool`], for input that lives as long as the pool.
pub(super) struct InPlace<'p, T> {
    pool: &'p SharedPool,
    of: PhantomData<T>,
}

impl<'p, T> InPlace<'p, T> {
    pub(super) fn new(pool: &'p SharedPool) -> Self {
        Self { pool, of: PhantomData }
    }
}

impl<'p, T: Deserialize<'p>> DeserializeSeed<'p> for InPlace<'p, T> {
    type Value = T;
    fn deserialize<D: Deserializer<'p>>(self, format: D) -> Result<T, D::Error> {
        current::with(self.pool, || {
            T::deserialize(Way::new(format, Borrowing(Copying::new(self.pool))))
        })
    }
}

/// What becomes of strings from an input of lifetime `'de`, where `'p` is wanted.
trait Keep<'de, 'p>: Copy {
    /// A string that is the input's.
    fn borrowed_str<V: Visitor<'p>, E: Error>(self, text: &'de str, to: V) -> Result<V::Value, E> {
        self.str(text, to)
    }

    /// A string that is there for the moment.
    fn str<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E>;

    /// Bytes that are the input's.
    fn borrowed_bytes<V: Visitor<'p>, E: Error>(
        self,
        bytes: &'de [u8],
        to: V,
    ) -> Result<V::Value, E> {
        self.bytes(bytes, to)
    }

    /// Bytes that are there for the moment.
    fn bytes<V: Visitor<'p>, E: Error>(self, bytes: &[u8], to: V) -> Result<V::Value, E>;

    /// The same for what is in a struct or an enum (`known`), whose names are compared to those
    /// that it has and need not be kept, or in anything else.
    fn inside(self, known: bool) -> Self;

    /// The name of a field or a variant, which is there for the moment.
    fn name<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E>;

    /// A name that is the input's.
    fn borrowed_name<V: Visitor<'p>, E: Error>(self, text: &'de str, to: V) -> Result<V::Value, E> {
        self.name(text, to)
    }
}

/// Puts all into the pool.
#[derive(Clone, Copy)]
struct Copying<'p> {
    pool: &'p SharedPool,
    known: bool,
}

impl<'p> Copying<'p> {
    fn new(pool: &'p SharedPool) -> Self {
        Self { pool, known: false }
    }
}

impl<'de, 'p> Keep<'de, 'p> for Copying<'p> {
    fn str<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E> {
        to.visit_borrowed_str(self.pool.try_alloc_str(text).map_err(current::refused)?)
    }

    fn bytes<V: Visitor<'p>, E: Error>(self, bytes: &[u8], to: V) -> Result<V::Value, E> {
        to.visit_borrowed_bytes(self.pool.try_alloc_slice_copy(bytes).map_err(current::refused)?)
    }

    fn inside(self, known: bool) -> Self {
        Self { known, ..self }
    }

    fn name<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E> {
        if self.known { to.visit_str(text) } else { Keep::str(self, text, to) }
    }
}

/// Puts into the pool what is not in the input as it is.
#[derive(Clone, Copy)]
struct Borrowing<'p>(Copying<'p>);

impl<'p> Keep<'p, 'p> for Borrowing<'p> {
    fn borrowed_str<V: Visitor<'p>, E: Error>(self, text: &'p str, to: V) -> Result<V::Value, E> {
        to.visit_borrowed_str(text)
    }

    fn str<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E> {
        Keep::str(self.0, text, to)
    }

    fn borrowed_bytes<V: Visitor<'p>, E: Error>(
        self,
        bytes: &'p [u8],
        to: V,
    ) -> Result<V::Value, E> {
        to.visit_borrowed_bytes(bytes)
    }

    fn bytes<V: Visitor<'p>, E: Error>(self, bytes: &[u8], to: V) -> Result<V::Value, E> {
        Keep::bytes(self.0, bytes, to)
    }

    fn inside(self, known: bool) -> Self {
        Self(Keep::inside(self.0, known))
    }

    fn name<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E> {
        Keep::name(self.0, text, to)
    }

    fn borrowed_name<V: Visitor<'p>, E: Error>(self, text: &'p str, to: V) -> Result<V::Value, E> {
        to.visit_borrowed_str(text)
    }
}

/// The way of names: as of all else, but that known ones are not put into the pool.
#[derive(Clone, Copy)]
struct Names<K>(K);

impl<'de, 'p, K: Keep<'de, 'p>> Keep<'de, 'p> for Names<K> {
    fn str<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E> {
        self.0.name(text, to)
    }

    fn bytes<V: Visitor<'p>, E: Error>(self, bytes: &[u8], to: V) -> Result<V::Value, E> {
        self.0.bytes(bytes, to)
    }

    fn borrowed_str<V: Visitor<'p>, E: Error>(self, text: &'de str, to: V) -> Result<V::Value, E> {
        self.0.borrowed_name(text, to)
    }

    fn borrowed_bytes<V: Visitor<'p>, E: Error>(
        self,
        bytes: &'de [u8],
        to: V,
    ) -> Result<V::Value, E> {
        self.0.borrowed_bytes(bytes, to)
    }

    fn inside(self, known: bool) -> Self {
        Self(self.0.inside(known))
    }

    fn name<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E> {
        self.0.name(text, to)
    }
}

/// Passes them on for the moment: to what makes a `String` of them, or looks at none.
#[derive(Clone, Copy)]
struct Passing;

impl<'de, 'p> Keep<'de, 'p> for Passing {
    fn str<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E> {
        to.visit_str(text)
    }

    fn bytes<V: Visitor<'p>, E: Error>(self, bytes: &[u8], to: V) -> Result<V::Value, E> {
        to.visit_bytes(bytes)
    }

    fn inside(self, _: bool) -> Self {
        self
    }

    fn name<V: Visitor<'p>, E: Error>(self, text: &str, to: V) -> Result<V::Value, E> {
        to.visit_str(text)
    }
}

/// Anything between a format and what is read.
struct Way<'de, 'p, X, K> {
    of: X,
    keep: K,
    lives: PhantomData<(&'de (), &'p ())>,
}

impl<'de, 'p, X, K: Keep<'de, 'p>> Way<'de, 'p, X, K> {
    fn new(of: X, keep: K) -> Self {
        Self { of, keep, lives: PhantomData }
    }
}

/// Deserializer methods without further arguments.
macro_rules! pass_on {
    ($keep:expr => $($method:ident)*) => {$(
        fn $method<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            let keep: fn(K) -> _ = $keep;
            self.of.$method(Way::new(visitor, keep(self.keep)))
        }
    )*};
}

impl<'de, 'p, D: Deserializer<'de>, K: Keep<'de, 'p>> Deserializer<'p> for Way<'de, 'p, D, K> {
    type Error = D::Error;

    pass_on! { |keep| keep.inside(false) =>
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_bytes deserialize_option deserialize_unit deserialize_seq
        deserialize_map
    }
    pass_on! { |_| Passing =>
        deserialize_string deserialize_byte_buf deserialize_ignored_any
    }
    pass_on! { |keep| Names(keep) => deserialize_identifier }

    fn deserialize_unit_struct<V: Visitor<'p>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_unit_struct(name, Way::new(visitor, self.keep.inside(false)))
    }

    fn deserialize_newtype_struct<V: Visitor<'p>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_newtype_struct(name, Way::new(visitor, self.keep.inside(false)))
    }

    fn deserialize_tuple<V: Visitor<'p>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_tuple(len, Way::new(visitor, self.keep.inside(false)))
    }

    fn deserialize_tuple_struct<V: Visitor<'p>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_tuple_struct(name, len, Way::new(visitor, self.keep.inside(false)))
    }

    fn deserialize_struct<V: Visitor<'p>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_struct(name, fields, Way::new(visitor, self.keep.inside(true)))
    }

    fn deserialize_enum<V: Visitor<'p>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.of.deserialize_enum(name, variants, Way::new(visitor, self.keep.inside(true)))
    }

    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }
}

/// Visitor methods for what has no lifetime.
macro_rules! values {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.of.$method(value)
        }
    )*};
}

impl<'de, 'p, V: Visitor<'p>, K: Keep<'de, 'p>> Visitor<'de> for Way<'de, 'p, V, K> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.expecting(f)
    }

    values! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64)
        visit_i128(i128) visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64)
        visit_u128(u128) visit_f32(f32) visit_f64(f64) visit_char(char)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.keep.str(text, self.of)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<V::Value, E> {
        self.keep.borrowed_str(text, self.of)
    }

    fn visit_string<E: Error>(self, text: String) -> Result<V::Value, E> {
        self.keep.str(&text, self.of)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        self.keep.bytes(bytes, self.of)
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<V::Value, E> {
        self.keep.borrowed_bytes(bytes, self.of)
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<V::Value, E> {
        self.keep.bytes(&bytes, self.of)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.of.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, of: D) -> Result<V::Value, D::Error> {
        self.of.visit_some(Way::new(of, self.keep))
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.of.visit_unit()
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, of: D) -> Result<V::Value, D::Error> {
        self.of.visit_newtype_struct(Way::new(of, self.keep))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.of.visit_seq(Way::new(access, self.keep))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.of.visit_map(Way::new(access, self.keep))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.of.visit_enum(Way::new(access, self.keep))
    }
}

impl<'de, 'p, T: DeserializeSeed<'p>, K: Keep<'de, 'p>> DeserializeSeed<'de>
    for Way<'de, 'p, T, K>
{
    type Value = T::Value;
    fn deserialize<D: Deserializer<'de>>(self, of: D) -> Result<T::Value, D::Error> {
        self.of.deserialize(Way::new(of, self.keep))
    }
}

impl<'de, 'p, A: SeqAccess<'de>, K: Keep<'de, 'p>> SeqAccess<'p> for Way<'de, 'p, A, K> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'p>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        self.of.next_element_seed(Way::new(seed, self.keep))
    }

    fn size_hint(&self) -> Option<usize> {
        self.of.size_hint()
    }
}

impl<'de, 'p, A: MapAccess<'de>, K: Keep<'de, 'p>> MapAccess<'p> for Way<'de, 'p, A, K> {
    type Error = A::Error;

    fn next_key_seed<T: DeserializeSeed<'p>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        self.of.next_key_seed(Way::new(seed, self.keep))
    }

    fn next_value_seed<T: DeserializeSeed<'p>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.of.next_value_seed(Way::new(seed, self.keep))
    }

    fn size_hint(&self) -> Option<usize> {
        self.of.size_hint()
    }
}

impl<'de, 'p, A: EnumAccess<'de>, K: Keep<'de, 'p>> EnumAccess<'p> for Way<'de, 'p, A, K> {
    type Error = A::Error;
    type Variant = Way<'de, 'p, A::Variant, K>;

    fn variant_seed<T: DeserializeSeed<'p>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let keep = self.keep;
        let (value, variant) = self.of.variant_seed(Way::new(seed, keep))?;
        Ok((value, Way::new(variant, keep)))
    }
}

impl<'de, 'p, A: VariantAccess<'de>, K: Keep<'de, 'p>> VariantAccess<'p> for Way<'de, 'p, A, K> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.of.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'p>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.of.newtype_variant_seed(Way::new(seed, self.keep))
    }

    fn tuple_variant<V: Visitor<'p>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.of.tuple_variant(len, Way::new(visitor, self.keep))
    }

    fn struct_variant<V: Visitor<'p>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.of.struct_variant(fields, Way::new(visitor, self.keep.inside(true)))
    }
}
