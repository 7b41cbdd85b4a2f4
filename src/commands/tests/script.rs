//! A test's script: lines, each with notes below it that are set in by two spaces; `#` begins a
//! comment. A line is a command; `!sleep seconds`, during which time goes millisecond by
//! millisecond and what is due expires; `&name command`, which blocks a client of that name;
//! `?name`, which says that it must have been served by now.

use std::collections::HashMap;
use std::sync::Arc;

use super::Test;
use crate::db::Waiter;

/// The lines of a script with their notes.
pub(super) fn entries(script: &str) -> Vec<(&str, Vec<&str>)> {
    let mut entries: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in script.lines().filter(|line| !line.starts_with('#')) {
        match entries.last_mut() {
            Some((_, notes)) if line.starts_with("  ") => notes.push(line),
            _ => entries.push((line, Vec::new())),
        }
    }
    entries
}

/// The clients that a script has blocked.
#[derive(Default)]
pub(super) struct Script<'s> {
    blocked: HashMap<&'s str, (Test, Arc<Waiter>)>,
}

impl<'s> Script<'s> {
    /// Does what a line says.
    pub(super) fn run(&mut self, test: &mut Test, line: &'s str) {
        if let Some(seconds) = line.strip_prefix("!sleep ") {
            let ms = seconds.parse::<f64>().unwrap() * 1000.0;
            for _ in 0..ms as u64 {
                test.clock.advance(1);
                let keyspace = &test.session.server().keyspace;
                keyspace.expire_due(test.clock.unix_ms());
            }
        } else if let Some((name, line)) =
            line.strip_prefix('&').and_then(|rest| rest.split_once(' '))
        {
            let mut client = test.client();
            let waiter = client.blocks(line);
            self.blocked.insert(name, (client, waiter));
        } else if let Some(name) = line.strip_prefix('?') {
            let (mut client, waiter) = self.blocked.remove(name).unwrap();
            assert!(client.waited(&waiter).is_some(), "{name} was not served");
        } else {
            test.run(line);
        }
    }
}
