//! The octets of a message in the pieces in which they came: none of them is copied to make one of
//! them, and no message needs more memory in one place than a piece has.

use std::borrow::Cow;

use bytes::Bytes;

use crate::identity::Identity;

/// The octets of a message.
#[derive(Debug, Clone, Default)]
pub struct Octets {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Octets {
    /// Takes the next piece.
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        self.pieces.push(piece);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The digests.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::of_pieces(self.pieces.iter().map(|piece| &**piece))
    }

    /// At least so many of the first ones, as far as there are that many.
    #[must_use]
    pub fn beginning(&self, octets_min: usize) -> Cow<'_, [u8]> {
        match self.pieces.as_slice() {
            [] => Cow::Borrowed(&[]),
            [first, others @ ..] if others.is_empty() || first.len() >= octets_min => {
                Cow::Borrowed(first)
            }
            pieces => {
                let mut beginning = Vec::new();
                for piece in pieces {
                    beginning.extend_from_slice(piece);
                    if beginning.len() >= octets_min {
                        break;
                    }
                }
                Cow::Owned(beginning)
            }
        }
    }

    /// All in one piece.
    #[must_use]
    pub fn whole(&self) -> Cow<'_, [u8]> {
        self.beginning(self.len)
    }

    /// Leaves out what lies behind the first `len`.
    pub fn truncate(&mut self, len: usize) {
        let mut left = len.min(self.len);
        self.len = left;
        self.pieces.retain_mut(|piece| {
            piece.truncate(left);
            left -= piece.len();
            !piece.is_empty()
        });
    }
}

impl<T: Into<Bytes>> From<T> for Octets {
    fn from(octets: T) -> Self {
        let octets = octets.into();
        Self { len: octets.len(), pieces: vec![octets] }
    }
}

/// By their octets, in however many pieces.
impl PartialEq for Octets {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.whole() == other.whole()
    }
}

impl Eq for Octets {}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(pieces: &[&'static str]) -> Octets {
        let mut octets = Octets::default();
        pieces.iter().for_each(|piece| octets.push(Bytes::from_static(piece.as_bytes())));
        octets
    }

    #[test]
    fn pieces_make_no_difference() {
        let [one, many] = [octets(&["letter"]), octets(&["le", "", "tt", "er"])];
        assert_eq!(one, many);
        assert_ne!(one, octets(&["le", "tters"]));
        assert_ne!(one, octets(&["le", "tteR"]));
        assert_eq!((many.len(), many.is_empty()), (6, false));
        assert_eq!(*many.whole(), *b"letter");
        assert_eq!(*many.beginning(3), *b"lett");
        assert_eq!(*octets(&[]).whole(), *b"");
    }

    #[test]
    fn what_is_cut_off_is_gone() {
        for len in 0..8 {
            let mut cut = octets(&["le", "tt", "er"]);
            cut.truncate(len);
            assert_eq!(*cut.whole(), b"letter"[..len.min(6)]);
            assert_eq!(cut.len(), len.min(6));
        }
    }
}
