//! What scripts read with `cjson`, `cmsgpack` and `struct`: any bytes are refused with an error, or
//! become values that are written in a way that reads as the same again.
//!
//! The first byte chooses the library, the second is the length of a format.
#![no_main]

use std::cell::RefCell;

use kivi::script::lib::{cjson, cmsgpack, structs};
use kivi::sys::lua::{CallError, Stack, State};
use libfuzzer_sys::fuzz_target;

/// Functions of the choice, a format and data.
const SOURCE: &[u8] = b"
local choice, format, data = ...
local function json()
  if choice % 2 == 1 then cjson.decode_invalid_numbers(false) end
  cjson.encode_sparse_array(true)
  local value = cjson.decode(data)
  local one = cjson.encode(value)
  local ok, other = pcall(cjson.decode, one)
  assert(ok, 'broken: what is written can be read')
  -- Members may have another order.
  assert(#cjson.encode(other) == #one, 'broken: the same again')
end
local function messages()
  local one = cmsgpack.pack(cmsgpack.unpack(data))
  local other = cmsgpack.pack(cmsgpack.unpack(one))
  assert(#one == #other, 'broken: the same again')
  cmsgpack.unpack_limit(data, choice, #format)
  cmsgpack.unpack_one(data, #format)
end
local function packed()
  local values = {struct.unpack(format, data, choice)}
  values[#values] = nil
  local one = struct.pack(format, unpack(values))
  local others = {struct.unpack(format, one)}
  -- Of `c0` unpacking takes two and packing one.
  assert(#others == #values + 1 or format:find('c0'), 'broken: as many values')
  local ok, size = pcall(struct.size, format)
  assert(not ok or size == #one, 'broken: the size that was told')
end
local ok, text = pcall(({json, messages, packed})[choice % 3 + 1])
assert(ok or not text:find('^broken'), text)
";

thread_local! {
    static STATE: RefCell<State> = RefCell::new(state());
}

fn state() -> State {
    let mut state = State::new(64 << 20, 100_000);
    state.open_libraries();
    let mut stack = state.stack();
    let _ = cjson::open(&mut stack);
    set_global(&mut stack, "cjson");
    cmsgpack::open(&mut stack);
    set_global(&mut stack, "cmsgpack");
    structs::open(&mut stack);
    set_global(&mut stack, "struct");
    state
}

fn set_global(stack: &mut Stack<'_>, name: &str) {
    stack.push_globals();
    stack.insert(1);
    assert!(stack.raw_set_name(1, name).is_ok());
    stack.set_top(0);
}

fuzz_target!(|data: &[u8]| {
    let [choice, split, data @ ..] = data else {
        return;
    };
    let (format, data) = data.split_at(data.len().min(usize::from(*split)));
    STATE.with_borrow_mut(|state| {
        let mut stack = state.stack();
        assert!(stack.load(SOURCE, c"@lualib").is_ok());
        stack.push_number(f64::from(*choice));
        stack.push_string(format);
        stack.push_string(data);
        match stack.call(3, 0, None) {
            Ok(()) | Err(CallError::Memory) => {}
            Err(_) => panic!(
                "{}",
                String::from_utf8_lossy(stack.string(-1).unwrap_or(b"?"))
            ),
        }
        stack.set_top(0);
        stack.collect_garbage();
    });
});
