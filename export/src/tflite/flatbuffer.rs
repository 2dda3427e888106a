//! Reading FlatBuffers from any bytes: every offset is checked before it is followed.
//!
//! A table begins with the distance back to its virtual table: two lengths, then for each field the distance from the
//! table's start, or 0 where the field is not stored. Strings, vectors and tables in fields are offsets from there.

use super::TfliteError;
use std::cell::Cell;
use std::rc::Rc;

/// Many tables may point to the same vector, which is copied each time; no honest file has that more often than this.
const COPIES: usize = 16;

/// How much may still be copied out of a file.
pub(super) struct Budget(Cell<usize>);

impl Budget {
    /// For a file of so many bytes.
    pub(super) fn new(file: usize) -> Budget {
        Budget(Cell::new(file.saturating_mul(COPIES)))
    }
}

/// A file's bytes.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    pub(super) file: &'a [u8],
    pub(super) budget: &'a Budget,
}

/// What was looked for where it cannot be.
fn damaged(what: &'static str, at: usize) -> TfliteError {
    TfliteError::Damaged { what, at }
}

type Read<T> = Result<T, TfliteError>;

impl<'a> Bytes<'a> {
    fn array<const N: usize>(self, at: usize, what: &'static str) -> Read<[u8; N]> {
        let bytes = self.file.get(at..).and_then(|b| b.first_chunk::<N>());
        bytes.copied().ok_or_else(|| damaged(what, at))
    }

    fn u16(self, at: usize, what: &'static str) -> Read<usize> {
        Ok(u16::from_le_bytes(self.array(at, what)?).into())
    }

    fn u32(self, at: usize, what: &'static str) -> Read<usize> {
        Ok(u32::from_le_bytes(self.array(at, what)?) as usize)
    }

    /// Where the offset stored at `at` points to.
    fn follow(self, at: usize, what: &'static str) -> Read<usize> {
        let to = at.saturating_add(self.u32(at, what)?);
        if to < self.file.len() {
            Ok(to)
        } else {
            Err(damaged(what, at))
        }
    }

    /// The root table.
    pub(super) fn root(self) -> Read<Table<'a>> {
        Table::at(self, self.follow(0, "the root table")?, "the root table")
    }
}

/// A table.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    bytes: Bytes<'a>,
    start: usize,
    fields: usize,
    fields_end: usize,
}

impl<'a> Table<'a> {
    fn at(bytes: Bytes<'a>, start: usize, what: &'static str) -> Read<Table<'a>> {
        let back = i32::from_le_bytes(bytes.array(start, what)?);
        let virtual_table = i64::try_from(start).ok().map(|s| s - i64::from(back));
        let virtual_table = virtual_table
            .and_then(|v| usize::try_from(v).ok())
            .ok_or_else(|| damaged(what, start))?;
        let len = bytes.u16(virtual_table, what)?;
        Ok(Table {
            bytes,
            start,
            fields: virtual_table.saturating_add(4),
            fields_end: virtual_table.saturating_add(len),
        })
    }

    /// Where field `id` is stored, if it is.
    fn field(&self, id: usize, what: &'static str) -> Read<Option<usize>> {
        let entry = self.fields.saturating_add(2 * id);
        if entry + 2 > self.fields_end {
            return Ok(None);
        }
        let distance = self.bytes.u16(entry, what)?;
        Ok((distance > 0).then(|| self.start.saturating_add(distance)))
    }

    fn number<const N: usize, T>(
        &self,
        id: usize,
        default: T,
        what: &'static str,
        read: impl Fn([u8; N]) -> T,
    ) -> Read<T> {
        match self.field(id, what)? {
            Some(at) => Ok(read(self.bytes.array(at, what)?)),
            None => Ok(default),
        }
    }

    pub(super) fn i8(&self, id: usize, default: i8, what: &'static str) -> Read<i8> {
        self.number(id, default, what, i8::from_le_bytes)
    }

    pub(super) fn bool(&self, id: usize, what: &'static str) -> Read<bool> {
        Ok(self.i8(id, 0, what)? != 0)
    }

    pub(super) fn i32(&self, id: usize, default: i32, what: &'static str) -> Read<i32> {
        self.number(id, default, what, i32::from_le_bytes)
    }

    pub(super) fn u64(&self, id: usize, what: &'static str) -> Read<u64> {
        self.number(id, 0, what, u64::from_le_bytes)
    }

    pub(super) fn f32(&self, id: usize, default: f32, what: &'static str) -> Read<f32> {
        self.number(id, default, what, f32::from_le_bytes)
    }

    pub(super) fn table(&self, id: usize, what: &'static str) -> Read<Option<Table<'a>>> {
        let Some(at) = self.field(id, what)? else {
            return Ok(None);
        };
        Table::at(self.bytes, self.bytes.follow(at, what)?, what).map(Some)
    }

    /// A vector's elements of `width` bytes each, back to back.
    pub(super) fn vector(&self, id: usize, width: usize, what: &'static str) -> Read<&'a [u8]> {
        Ok(self.elements(id, width, what)?.1)
    }

    fn elements(&self, id: usize, width: usize, what: &'static str) -> Read<(usize, &'a [u8])> {
        let Some(at) = self.field(id, what)? else {
            return Ok((0, &[]));
        };
        let start = self.bytes.follow(at, what)?;
        let len = self.bytes.u32(start, what)?;
        let bytes = len
            .checked_mul(width)
            .and_then(|len| self.bytes.file.get(start + 4..)?.get(..len))
            .ok_or_else(|| damaged(what, start))?;
        Ok((start + 4, bytes))
    }

    /// A vector's elements, to be copied.
    fn copied(&self, id: usize, width: usize, what: &'static str) -> Read<&'a [u8]> {
        let bytes = self.vector(id, width, what)?;
        let left = self.bytes.budget.0.get().checked_sub(bytes.len());
        self.bytes
            .budget
            .0
            .set(left.ok_or_else(|| damaged(what, self.start))?);
        Ok(bytes)
    }

    pub(super) fn i32s(&self, id: usize, what: &'static str) -> Read<Vec<i32>> {
        let words = self.copied(id, 4, what)?.as_chunks().0;
        Ok(words.iter().map(|&w| i32::from_le_bytes(w)).collect())
    }

    pub(super) fn f32s(&self, id: usize, what: &'static str) -> Read<Vec<f32>> {
        let words = self.copied(id, 4, what)?.as_chunks().0;
        Ok(words.iter().map(|&w| f32::from_le_bytes(w)).collect())
    }

    pub(super) fn i64s(&self, id: usize, what: &'static str) -> Read<Vec<i64>> {
        let words = self.copied(id, 8, what)?.as_chunks().0;
        Ok(words.iter().map(|&w| i64::from_le_bytes(w)).collect())
    }

    /// A string; what is not UTF-8 in it is replaced.
    pub(super) fn text(&self, id: usize, what: &'static str) -> Read<Rc<str>> {
        Ok(String::from_utf8_lossy(self.copied(id, 1, what)?).into())
    }

    /// A vector of tables, at most `limit` of them.
    pub(super) fn tables(
        &self,
        id: usize,
        limit: usize,
        what: &'static str,
    ) -> Read<Vec<Table<'a>>> {
        let (start, bytes) = self.elements(id, 4, what)?;
        let count = bytes.len() / 4;
        if count > limit {
            return Err(TfliteError::Limit { what, count, limit });
        }
        (0..count)
            .map(|i| {
                let to = self.bytes.follow(start + 4 * i, what)?;
                Table::at(self.bytes, to, what)
            })
            .collect()
    }
}
