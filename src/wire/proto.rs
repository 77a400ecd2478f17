//! The fields of a protobuf message, one after the other, as they stand in its bytes.
//!
//! Strict: a varint has at most ten bytes and 64 bits, a length ends within the message, groups
//! (which proto3 does not have) and field number 0 are refused.

/// Why there are no more fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The bytes end within a field.
    Short,
    /// They are no protobuf.
    Wrong,
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire types 1 and 5, which no message here uses.
    Fixed,
}

/// The fields of a message; ends after the first error.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Those of a message.
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The bytes that are still to be read.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Broken> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Broken::Wrong),
        };
        if tag >> 3 == 0 || tag > u64::from(u32::MAX) {
            return Err(Broken::Wrong);
        }
        Ok((tag >> 3, value))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Broken> {
        let len = usize::try_from(len).map_err(|_| Broken::Short)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Broken::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0;
        for (i, &byte) in self.rest.iter().enumerate() {
            if i == 9 && byte > 1 {
                return Err(Broken::Wrong);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(Broken::Short)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Vec<Result<(u64, Value<'_>), Broken>> {
        Fields::new(bytes).collect()
    }

    #[test]
    fn a_heartbeat_of_the_embedded_node() {
        let bytes = [0x08, 0x08, 0x10, 0x01, 0x18, 0x03, 0x20, 0x01, 0x40, 0x05];
        let wanted = [(1, 8), (2, 1), (3, 3), (4, 1), (8, 5)];
        let wanted: Vec<_> = wanted.iter().map(|&(n, v)| Ok((n, Value::Varint(v)))).collect();
        assert_eq!(fields(&bytes), wanted);
    }

    #[test]
    fn the_largest_varint_has_ten_bytes() {
        let mut bytes = vec![0x08];
        bytes.extend([0xff; 9]);
        bytes.push(1);
        assert_eq!(fields(&bytes), [Ok((1, Value::Varint(u64::MAX)))]);
        bytes[10] = 2;
        assert_eq!(fields(&bytes), [Err(Broken::Wrong)]);
        bytes[10] = 0xff;
        assert_eq!(fields(&bytes), [Err(Broken::Wrong)]);
    }

    #[test]
    fn what_ends_within_a_field_is_short_and_the_rest_is_not_read() {
        assert_eq!(fields(&[0x08]), [Err(Broken::Short)]);
        assert_eq!(fields(&[0x12, 3, 1, 2]), [Err(Broken::Short)]);
        let huge = [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(fields(&huge), [Err(Broken::Short)]);
        assert_eq!(fields(&[0x12, 2, 1, 2]), [Ok((2, Value::Bytes(&[1, 2])))]);
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        assert_eq!(fields(&[0x0b, 0x08, 1]), [Err(Broken::Wrong)]);
        assert_eq!(fields(&[0x00, 1]), [Err(Broken::Wrong)]);
        assert_eq!(fields(&[0x0d, 1, 2, 3, 4]), [Ok((1, Value::Fixed))]);
    }
}
