//! Putting what was found in the order of its distances.
//!
//! Points at the same distance, at one place mostly, come in the order in which Valkey's sorting
//! leaves them. All points are sorted stably there, as glibc's `qsort` does. If only the nearest or
//! farthest are wanted, a quicksort works on no more than those, which is not stable: what it does
//! is described by J. Bentley and M. D. McIlroy, "Engineering a sort function" (1993), and done here
//! on distances and places alone. It can be quadratic; after too many steps another sort finishes.

use super::search::Found;

/// Which come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The nearest.
    Ascending,
    /// The farthest.
    Descending,
}

/// Ranges shorter than this are sorted by insertion.
const INSERTED_LEN_MAX: usize = 7;
/// Ranges longer than this have their pivot chosen from nine.
const NINTHER_LEN_MIN: usize = 40;
/// Steps for each element, of which a quicksort that goes well needs some dozens.
const STEPS_PER_ELEMENT: usize = 256;

/// Puts points in order and leaves the first `wanted` ones.
pub fn sort(found: &mut Vec<Found<'_>>, order: Order, wanted: usize) {
    sort_within(found, order, wanted, STEPS_PER_ELEMENT);
}

/// The same with another limit of steps.
pub(super) fn sort_within(
    found: &mut Vec<Found<'_>>,
    order: Order,
    wanted: usize,
    steps_per_element: usize,
) {
    let key = |distance_m: f64| match order {
        Order::Ascending => distance_m,
        Order::Descending => -distance_m,
    };
    if wanted >= found.len() {
        found.sort_by(|a, b| key(a.distance_m).total_cmp(&key(b.distance_m)));
        return;
    }
    let mut items: Vec<Item> = (0..)
        .zip(&*found)
        .map(|(place, point)| Item {
            key: key(point.distance_m),
            place,
        })
        .collect();
    let mut sort = Partial {
        wanted,
        steps_left: items.len().saturating_mul(steps_per_element),
    };
    if sort.sort(&mut items, 0).is_err() {
        items.sort_by(|a, b| a.key.total_cmp(&b.key).then(a.place.cmp(&b.place)));
    }
    *found = items[..wanted]
        .iter()
        .map(|item| found[item.place])
        .collect();
}

/// A distance, negative if the farthest come first, and which point has it.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Item {
    key: f64,
    place: usize,
}

/// It takes too long.
struct TooManySteps;

/// A quicksort of the first elements.
struct Partial {
    wanted: usize,
    steps_left: usize,
}

impl Partial {
    /// Sorts a range that begins at the place `start` of the whole, as far as it is wanted.
    fn sort(&mut self, mut items: &mut [Item], mut start: usize) -> Result<(), TooManySteps> {
        loop {
            let len = items.len();
            self.spend(len)?;
            if len < INSERTED_LEN_MAX {
                return self.insert(items);
            }
            items.swap(0, pivot(items));
            let (less, greater) = partition(items);
            let (low, rest) = items.split_at_mut(less);
            let greater_start = start + len - greater;
            let high = match greater > 1 && greater_start < self.wanted {
                true => &mut rest[len - less - greater..],
                false => &mut [],
            };
            // The longer one in this call: however badly the pivots fall, calls lie only so deep in each other as a
            // length can be halved.
            let ((shorter, shorter_start), longer) = match low.len() < high.len() {
                true => ((low, start), (high, greater_start)),
                false => ((high, greater_start), (low, start)),
            };
            if shorter.len() > 1 {
                self.sort(shorter, shorter_start)?;
            }
            if longer.0.len() <= 1 {
                return Ok(());
            }
            (items, start) = longer;
        }
    }

    fn insert(&mut self, items: &mut [Item]) -> Result<(), TooManySteps> {
        for end in 1..items.len() {
            let mut at = end;
            while at > 0 && items[at - 1].key > items[at].key {
                items.swap(at - 1, at);
                at -= 1;
            }
            self.spend(end - at)?;
        }
        Ok(())
    }

    fn spend(&mut self, steps: usize) -> Result<(), TooManySteps> {
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(TooManySteps)?;
        Ok(())
    }
}

/// The place of the middle one of three or nine elements.
fn pivot(items: &[Item]) -> usize {
    let (len, middle) = (items.len(), items.len() / 2);
    if len == INSERTED_LEN_MAX {
        return middle;
    }
    let median = |a, b, c| median(items, a, b, c);
    let last = len - 1;
    if len <= NINTHER_LEN_MIN {
        return median(0, middle, last);
    }
    let eighth = len / 8;
    median(
        median(0, eighth, 2 * eighth),
        median(middle - eighth, middle, middle + eighth),
        median(last - 2 * eighth, last - eighth, last),
    )
}

fn median(items: &[Item], a: usize, b: usize, c: usize) -> usize {
    let is_less = |a: usize, b: usize| items[a].key < items[b].key;
    if is_less(a, b) {
        match () {
            () if is_less(b, c) => b,
            () if is_less(a, c) => c,
            () => a,
        }
    } else {
        match () {
            () if is_less(c, b) => b,
            () if is_less(a, c) => a,
            () => c,
        }
    }
}

/// Brings what is less than the first element to the front and what is greater to the end, with what
/// equals it between them. How many are less, and how many greater.
fn partition(items: &mut [Item]) -> (usize, usize) {
    let pivot = items[0].key;
    let len = items.len();
    // Equal | less | not looked at | greater | equal
    let (mut less, mut next) = (1, 1);
    let (mut end, mut greater_end) = (len, len);
    loop {
        while next < end && items[next].key <= pivot {
            if items[next].key == pivot {
                items.swap(less, next);
                less += 1;
            }
            next += 1;
        }
        while next < end && items[end - 1].key >= pivot {
            if items[end - 1].key == pivot {
                greater_end -= 1;
                items.swap(end - 1, greater_end);
            }
            end -= 1;
        }
        if next >= end {
            break;
        }
        items.swap(next, end - 1);
        next += 1;
        end -= 1;
    }
    // The equal ones go to the middle, as few elements as possible moving.
    let less_len = next - less;
    swap_ranges(items, 0, next, less.min(less_len));
    let greater_len = greater_end - end;
    swap_ranges(items, next, len, greater_len.min(len - greater_end));
    (less_len, greater_len)
}

/// Exchanges the `count` elements from `start` on with those before `end`.
fn swap_ranges(items: &mut [Item], start: usize, end: usize, count: usize) {
    for at in 0..count {
        items.swap(start + at, end - count + at);
    }
}
