//! In which order SORT puts elements.
//!
//! By number, equal ones by their text; or by text (ALPHA), in the order of bytes, which is that of
//! the C locale. As in Valkey a text that is only shown is compared up to its first NUL, and one that
//! is stored as a whole. Texts that compare as equal stay in the order they had.

use std::cmp::Ordering;
use std::ops::Range;

use crate::spec::args::c_str;
use crate::util::num;

/// A piece of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Span {
    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start..self.start + self.len]
    }
}

/// An element with its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) element: Span,
    /// By which it is put in order as a number.
    pub(super) score: f64,
    /// By which it is put in order as a text, if that is not its own.
    pub(super) weight: Option<Span>,
}

impl Item {
    pub(super) fn new(element: Span) -> Self {
        Self {
            element,
            score: 0.0,
            weight: None,
        }
    }
}

/// What decides about the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// Texts are compared, not numbers.
    pub(super) is_alpha: bool,
    /// The texts are the weights.
    pub(super) is_by: bool,
    /// The result is stored.
    pub(super) is_stored: bool,
    /// The greatest comes first.
    pub(super) desc: bool,
}

impl Order {
    fn compare(self, a: &Item, b: &Item, text: &[u8]) -> Ordering {
        let ascending = if !self.is_alpha {
            // There is no NaN among scores.
            let by_score = a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal);
            by_score.then_with(|| a.element.of(text).cmp(b.element.of(text)))
        } else if self.is_by {
            let weight = |item: &Item| item.weight.map(|weight| self.seen(weight.of(text)));
            weight(a).cmp(&weight(b))
        } else {
            self.seen(a.element.of(text))
                .cmp(self.seen(b.element.of(text)))
        };
        match self.desc {
            true => ascending.reverse(),
            false => ascending,
        }
    }

    fn seen(self, text: &[u8]) -> &[u8] {
        match self.is_stored {
            true => text,
            false => c_str(text),
        }
    }
}

/// The number that an element or weight is, if it is one: decimal, or an infinity.
pub(super) fn score(text: &[u8]) -> Option<f64> {
    let text = c_str(text);
    let (_, body) = num::split_sign(text);
    match body {
        [b'0', b'x' | b'X', ..] => None,
        _ => num::parse_f64(text),
    }
}

/// Puts those items in order that end up in `window`, and all others before or after it.
pub(super) fn sort(items: &mut [Item], text: &[u8], order: Order, window: Range<usize>) {
    let compare = |a: &Item, b: &Item| order.compare(a, b, text);
    if order.is_alpha {
        return items.sort_by(compare);
    }
    // Items that are equal as numbers and as texts are the same.
    let Some(last) = window.end.checked_sub(1) else {
        return;
    };
    if window.end < items.len() {
        items.select_nth_unstable_by(last, compare);
    }
    items[..window.end].sort_unstable_by(compare);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn numbers_are_decimal() {
        for (text, number) in [
            ("1", 1.0),
            ("-5", -5.0),
            ("+5", 5.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1.e5", 1e5),
            ("00", 0.0),
            ("1E5", 1e5),
            ("1e-320", 1e-320),
            ("5e-324", 5e-324),
            ("0e999999", 0.0),
            ("inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("1\0abc", 1.0),
            (
                "123456789012345678901234567890",
                123456789012345678901234567890.0,
            ),
        ] {
            assert_eq!(score(text.as_bytes()), Some(number), "{text}");
        }
        for text in [
            "", " 1", "1 ", "\x0b1", "0x10", "-0X1", "nan", "nan(1)", "1e400", "-1e400", "1e-400",
            "1e", "1e++5", "1_0", "1d5", "+-5", "--5", "+", ".", ".e5", "infi", "\x001",
        ] {
            assert_eq!(score(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_window_is_that_of_the_whole() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..200 {
            let text: Vec<u8> = (0..50).map(|_| b'0' + rng.index(10) as u8).collect();
            let items = (0..40).map(|start| Item {
                score: rng.below(8) as f64,
                ..Item::new(Span { start, len: 3 })
            });
            let items: Vec<Item> = items.collect();
            let order = Order {
                is_alpha: rng.below(2) == 0,
                is_by: false,
                is_stored: rng.below(2) == 0,
                desc: rng.below(2) == 0,
            };
            let texts = |items: &[Item]| -> Vec<Vec<u8>> {
                let texts = items.iter().map(|item| item.element.of(&text).to_vec());
                texts.collect()
            };
            let mut whole = items.clone();
            whole.sort_by(|a, b| order.compare(a, b, &text));
            let start = rng.index(41);
            let window = start..start + rng.index(41 - start);
            let mut some = items;
            sort(&mut some, &text, order, window.clone());
            assert_eq!(texts(&some[window.clone()]), texts(&whole[window]));
        }
    }
}
