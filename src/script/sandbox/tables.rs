//! Functions of `table` that can work long without running Lua code: they say so ([`Stack::spend`]), and what
//! they change may not be a front. `sort` is Lua 5.1's own quicksort, comparison for comparison, since the
//! order of what compares equal is seen.

use crate::script::lib::arguments::{expect, int, int_or, is_given};
use crate::sys::lua::{Kind, Raise, Stack};

use super::front::{is_front, readonly, replace_front};
use super::set_functions;

pub(super) fn open(stack: &mut Stack<'_>, library: i32) {
    set_functions(
        stack,
        library,
        &[
            ("foreach", foreach),
            ("foreachi", foreachi),
            ("insert", insert),
            ("remove", remove),
            ("sort", sort),
        ],
    );
}

/// The number of values in table 1.
fn length(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 1, Kind::Table)?;
    Ok(stack.len(1) as i32)
}

fn insert(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let end = length(stack)?.wrapping_add(1);
    let place = match stack.top() {
        2 => end,
        3 => int(stack, 2)?,
        _ => return Err(stack.error("wrong number of arguments to 'insert'")),
    };
    if is_front(stack, 1) {
        return Err(readonly(stack));
    }
    let mut to = end.max(place);
    while to > place {
        stack.spend(1)?;
        stack.raw_get_index(1, to - 1);
        stack.raw_set_index(1, to)?;
        to -= 1;
    }
    stack.raw_set_index(1, place)?;
    Ok(0)
}

fn remove(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let end = length(stack)?;
    let place = int_or(stack, 2, end)?;
    if !(1..=end).contains(&place) {
        return Ok(0);
    }
    stack.raw_get_index(1, place);
    for to in place..end {
        stack.spend(1)?;
        stack.raw_get_index(1, to + 1);
        stack.raw_set_index(1, to)?;
    }
    stack.push_nil();
    stack.raw_set_index(1, end)?;
    Ok(1)
}

fn foreach(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 1, Kind::Table)?;
    expect(stack, 2, Kind::Function)?;
    stack.set_top(2);
    replace_front(stack, 1);
    stack.push_nil();
    while stack.next(1)? {
        stack.spend(1)?;
        stack.push_value(2);
        stack.push_value(-3);
        stack.push_value(-3);
        stack.call(2, 1, None).map_err(|_| Raise)?;
        if stack.kind(-1) != Kind::Nil {
            return Ok(1);
        }
        stack.pop(2);
    }
    Ok(0)
}

fn foreachi(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let length = length(stack)?;
    expect(stack, 2, Kind::Function)?;
    stack.set_top(2);
    for index in 1..=length {
        stack.spend(1)?;
        stack.push_value(2);
        stack.push_number(f64::from(index));
        stack.raw_get_index(1, index);
        stack.call(2, 1, None).map_err(|_| Raise)?;
        if stack.kind(-1) != Kind::Nil {
            return Ok(1);
        }
        stack.pop(1);
    }
    Ok(0)
}

fn sort(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let length = length(stack)?;
    if is_given(stack, 2) {
        expect(stack, 2, Kind::Function)?;
    }
    if stack.top() < 2 {
        stack.push_nil();
    }
    stack.set_top(2);
    let order = match stack.kind(2) {
        Kind::Nil => Order::Usual,
        _ => Order::Function,
    };
    sort_range(stack, order, 1, length)?;
    Ok(0)
}

/// What compares values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// `<`
    Usual,
    /// The function at 2.
    Function,
}

/// Whether the first value of the stack comes before the other.
fn is_before(stack: &mut Stack<'_>, order: Order, one: i32, other: i32) -> Result<bool, Raise> {
    stack.spend(1)?;
    if order == Order::Usual {
        return stack.is_less(one, other);
    }
    let (one, other) = (stack.at(one), stack.at(other));
    stack.push_value(2);
    stack.push_value(one);
    stack.push_value(other);
    stack.call(2, 1, None).map_err(|_| Raise)?;
    let is_before = stack.is_true(-1);
    stack.pop(1);
    Ok(is_before)
}

/// Swaps the two values on top, which are those of these places with the upper one from the first, if
/// `is_swapped`; takes them.
fn settle(stack: &mut Stack<'_>, is_swapped: bool, one: i32, other: i32) -> Result<(), Raise> {
    match is_swapped {
        true => {
            stack.raw_set_index(1, one)?;
            stack.raw_set_index(1, other)
        }
        false => {
            stack.pop(2);
            Ok(())
        }
    }
}

/// Sorts the values of these places. Recursion is for the smaller part only, so it is not deep.
fn sort_range(
    stack: &mut Stack<'_>,
    order: Order,
    mut lower: i32,
    mut upper: i32,
) -> Result<(), Raise> {
    while lower < upper {
        stack.raw_get_index(1, lower);
        stack.raw_get_index(1, upper);
        let is_swapped = is_before(stack, order, -1, -2)?;
        settle(stack, is_swapped, lower, upper)?;
        if upper - lower == 1 {
            return Ok(());
        }
        let middle = lower + (upper - lower) / 2;
        stack.raw_get_index(1, middle);
        stack.raw_get_index(1, lower);
        if is_before(stack, order, -2, -1)? {
            settle(stack, true, middle, lower)?;
        } else {
            stack.pop(1);
            stack.raw_get_index(1, upper);
            let is_swapped = is_before(stack, order, -1, -2)?;
            settle(stack, is_swapped, middle, upper)?;
        }
        if upper - lower == 2 {
            return Ok(());
        }
        let place = partition(stack, order, lower, upper, middle)?;
        let (smaller, larger) = match place - lower < upper - place {
            true => ((lower, place - 1), (place + 1, upper)),
            false => ((place + 1, upper), (lower, place - 1)),
        };
        sort_range(stack, order, smaller.0, smaller.1)?;
        (lower, upper) = larger;
    }
    Ok(())
}

/// Moves what comes before the value in the middle before it, and the rest behind it; where it is now.
fn partition(
    stack: &mut Stack<'_>,
    order: Order,
    lower: i32,
    upper: i32,
    middle: i32,
) -> Result<i32, Raise> {
    // The value in the middle stays on the stack, and waits at the last place but one.
    stack.raw_get_index(1, middle);
    stack.push_value(-1);
    stack.raw_get_index(1, upper - 1);
    settle(stack, true, middle, upper - 1)?;
    let (mut left, mut right) = (lower, upper - 1);
    loop {
        left += 1;
        stack.raw_get_index(1, left);
        while is_before(stack, order, -1, -2)? {
            if left > upper {
                return Err(stack.error("invalid order function for sorting"));
            }
            stack.pop(1);
            left += 1;
            stack.raw_get_index(1, left);
        }
        right -= 1;
        stack.raw_get_index(1, right);
        while is_before(stack, order, -3, -1)? {
            if right < lower {
                return Err(stack.error("invalid order function for sorting"));
            }
            stack.pop(1);
            right -= 1;
            stack.raw_get_index(1, right);
        }
        if right < left {
            stack.pop(3);
            break;
        }
        settle(stack, true, left, right)?;
    }
    stack.raw_get_index(1, upper - 1);
    stack.raw_get_index(1, left);
    settle(stack, true, upper - 1, left)?;
    Ok(left)
}
