//! Requests, written: `*COUNT`, then `$LENGTH` and the bytes of each argument. What the log and a
//! snapshot as commands consist of.

/// Writes a request of `args` arguments.
pub fn request<'a>(out: &mut Vec<u8>, args: usize, argv: impl Iterator<Item = &'a [u8]> + Clone) {
    const LENGTH_BYTES: usize = 8;
    let bytes: usize = argv.clone().map(|arg| arg.len() + LENGTH_BYTES).sum();
    out.reserve(bytes + LENGTH_BYTES);
    argc(out, args);
    for arg in argv {
        bulk(out, arg);
    }
}

/// Writes how many arguments follow.
#[inline]
pub fn argc(out: &mut Vec<u8>, args: usize) {
    number_line(out, b'*', args);
}

/// Writes an argument of a request.
#[inline]
pub fn bulk(out: &mut Vec<u8>, arg: &[u8]) {
    number_line(out, b'$', arg.len());
    out.extend_from_slice(arg);
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn number_line(out: &mut Vec<u8>, kind: u8, number: usize) {
    if number < 10 {
        out.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']);
        return;
    }
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_any_size_are_written() {
        let long = [b'x'; 123];
        let mut out = Vec::new();
        let argv: [&[u8]; 3] = [b"SET", b"", &long];
        request(&mut out, argv.len(), argv.into_iter());
        let expected = [
            &b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$123\r\n"[..],
            &long,
            b"\r\n",
        ]
        .concat();
        assert_eq!(out, expected);
    }
}
