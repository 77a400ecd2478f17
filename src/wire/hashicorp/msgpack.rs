//! As much of msgpack as hashicorp/raft writes: values one after another, nothing allocated.

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It needs so many bytes at least, counted from where the reader began.
    Short(u64),
    /// No such value stands here.
    Wrong,
}

/// Reads values from the front of some bytes.
#[derive(Debug)]
pub(super) struct Values<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Values<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::Short(self.at as u64 + 1))
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], Stop> {
        let end = self.at as u64 + len;
        let taken = usize::try_from(end).ok().and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Stop::Short(end))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?[0])
    }

    /// A big-endian number of so many bytes.
    fn number(&mut self, len: u64) -> Result<u64, Stop> {
        Ok(self.take(len)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    /// A number that is not negative, in any of its forms: Go writes a positive one of a signed
    /// type as signed.
    pub(super) fn uint(&mut self) -> Result<u64, Stop> {
        let marker = self.byte()?;
        let (len, signed) = match marker {
            0x00..=0x7f => return Ok(u64::from(marker)),
            0xcc..=0xcf => (1 << (marker - 0xcc), false),
            0xd0..=0xd3 => (1 << (marker - 0xd0), true),
            _ => return Err(Stop::Wrong),
        };
        let value = self.number(len)?;
        if signed && value >> (len * 8 - 1) != 0 { Err(Stop::Wrong) } else { Ok(value) }
    }

    pub(super) fn flag(&mut self) -> Result<bool, Stop> {
        match self.byte()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(Stop::Wrong),
        }
    }

    /// The length of a text, or of plain bytes, which older versions write as text; nil is empty.
    /// They follow.
    pub(super) fn bytes_ahead(&mut self) -> Result<u64, Stop> {
        match self.byte()? {
            0xc0 => Ok(0),
            0xc4 => self.number(1),
            0xc5 => self.number(2),
            0xc6 => self.number(4),
            _ => {
                self.at -= 1;
                self.text_ahead()
            }
        }
    }

    fn text_ahead(&mut self) -> Result<u64, Stop> {
        match self.byte()? {
            marker @ 0xa0..=0xbf => Ok(u64::from(marker & 0x1f)),
            0xd9 => self.number(1),
            0xda => self.number(2),
            0xdb => self.number(4),
            _ => Err(Stop::Wrong),
        }
    }

    /// A text, and nothing that only resembles one.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Stop> {
        let len = self.text_ahead()?;
        self.take(len)
    }

    /// A text or plain bytes; nil is empty.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Stop> {
        let len = self.bytes_ahead()?;
        self.take(len)
    }

    /// How many pairs of a map follow.
    pub(super) fn map(&mut self) -> Result<u64, Stop> {
        match self.byte()? {
            marker @ 0x80..=0x8f => Ok(u64::from(marker & 0x0f)),
            0xde => self.number(2),
            0xdf => self.number(4),
            _ => Err(Stop::Wrong),
        }
    }

    /// How many values of an array follow; nil is empty.
    pub(super) fn array(&mut self) -> Result<u64, Stop> {
        match self.byte()? {
            marker @ 0x90..=0x9f => Ok(u64::from(marker & 0x0f)),
            0xc0 => Ok(0),
            0xdc => self.number(2),
            0xdd => self.number(4),
            _ => Err(Stop::Wrong),
        }
    }

    /// Passes over a value of any kind, however deep: a count stands for the stack.
    pub(super) fn skip(&mut self) -> Result<(), Stop> {
        let mut ahead: u64 = 1;
        while ahead > 0 {
            if ((self.bytes.len() - self.at) as u64) < ahead {
                // Every value has a byte at least.
                return Err(Stop::Short(self.at as u64 + ahead));
            }
            ahead -= 1;
            let len = match self.peek()? {
                0x80..=0x8f | 0xde | 0xdf => {
                    ahead += 2 * self.map()?;
                    continue;
                }
                0x90..=0x9f | 0xdc | 0xdd => {
                    ahead += self.array()?;
                    continue;
                }
                0xa0..=0xbf | 0xc4..=0xc6 | 0xd9..=0xdb => self.bytes_ahead()?,
                0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 1,
                marker @ 0xcc..=0xcf => 1 + (1 << (marker - 0xcc)),
                marker @ 0xd0..=0xd3 => 1 + (1 << (marker - 0xd0)),
                0xca => 5,
                0xcb => 9,
                // Extensions: a type, and 1 to 16 bytes.
                marker @ 0xd4..=0xd8 => 2 + (1 << (marker - 0xd4)),
                marker @ 0xc7..=0xc9 => {
                    self.byte()?;
                    self.number(1 << (marker - 0xc7))? + 1
                }
                0xc1 => return Err(Stop::Wrong),
            };
            self.take(len)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Stop, Values};
    use proptest::prelude::*;

    #[test]
    fn numbers_of_every_form() {
        let forms: [(&[u8], u64); 9] = [
            (&[0x7f], 127),
            (&[0xcc, 0xff], 255),
            (&[0xcd, 1, 0], 256),
            (&[0xce, 0, 1, 0, 0], 65_536),
            (&[0xcf, 1, 0, 0, 0, 0, 0, 0, 0], 1 << 56),
            (&[0xd0, 0x7f], 127),
            (&[0xd1, 0x01, 0x00], 256),
            (&[0xd2, 0, 0, 1, 0], 256),
            (&[0xd3, 0, 0, 0, 0, 0, 0, 1, 0], 256),
        ];
        for (bytes, value) in forms {
            assert_eq!(Values::new(bytes).uint(), Ok(value));
            for cut in 1..bytes.len() {
                assert_eq!(Values::new(&bytes[..cut]).uint(), Err(Stop::Short(bytes.len() as u64)));
            }
        }
        for wrong in [&[0xd0, 0x80][..], &[0xff], &[0xc0], &[0xa1, b'1']] {
            assert_eq!(Values::new(wrong).uint(), Err(Stop::Wrong));
        }
    }

    #[test]
    fn a_count_that_nothing_follows_asks_for_no_more_than_its_own_bytes() {
        // An array of four thousand million values.
        assert_eq!(
            Values::new(&[0xdd, 0xff, 0xff, 0xff, 0xff]).skip(),
            Err(Stop::Short(5 + 0xffff_ffff))
        );
        let mut deep = Values::new(&[0x91; 4096]);
        assert_eq!(deep.skip(), Err(Stop::Short(4097)));
    }

    /// Some value, and how it is written.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            any::<u64>().prop_map(|n| [&[0xcf][..], &n.to_be_bytes()].concat()),
            any::<i16>().prop_map(|n| [&[0xd1][..], &n.to_be_bytes()].concat()),
            any::<f64>().prop_map(|n| [&[0xcb][..], &n.to_be_bytes()].concat()),
            prop_oneof![Just(0xc0), Just(0xc2), Just(0xc3), 0xe0..=0xff_u8, 0..=0x7f_u8]
                .prop_map(|marker| vec![marker]),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|b| [
                &[0xd9, b.len() as u8][..],
                &b
            ]
            .concat()),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|b| [
                &[0xc5, 0, b.len() as u8][..],
                &b
            ]
            .concat()),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|b| [
                &[0xc7, b.len() as u8, 5][..],
                &b
            ]
            .concat()),
            any::<[u8; 9]>().prop_map(|b| [&[0xd7][..], &b].concat()),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            proptest::collection::vec(inner, 0..6).prop_flat_map(|values| {
                let array = [&[0x90 | values.len() as u8][..], &values.concat()].concat();
                let pairs = values.len() / 2;
                let map = [&[0x80 | pairs as u8][..], &values[..pairs * 2].concat()].concat();
                prop_oneof![Just(array), Just(map)]
            })
        })
    }

    proptest! {
        #[test]
        fn a_value_is_skipped_whole_and_never_taken_for_whole(
            bytes in value(),
            after in any::<u8>(),
        ) {
            let longer = [&bytes[..], &[after]].concat();
            let mut values = Values::new(&longer);
            prop_assert_eq!(values.skip(), Ok(()));
            prop_assert_eq!(values.at(), bytes.len());
            for cut in 0..bytes.len() {
                match Values::new(&bytes[..cut]).skip() {
                    Err(Stop::Short(needed)) => {
                        prop_assert!(needed > cut as u64 && needed <= bytes.len() as u64);
                    }
                    other => prop_assert!(false, "cut at {}: {:?}", cut, other),
                }
            }
        }

        #[test]
        fn any_bytes_can_be_skipped_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut values = Values::new(&bytes);
            if let Ok(()) = values.skip() {
                prop_assert!(values.at() <= bytes.len());
            }
        }
    }
}
