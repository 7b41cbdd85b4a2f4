//! On which processors which threads run (`server-cpulist` and its kin).
//!
//! The main thread takes its place before it starts others, which inherit it; a thread that does
//! something else says so when it begins. What a list does not say: background threads run where the
//! process was started, savers where the server runs, as Redis's threads and children do.

use std::sync::OnceLock;

use super::process;

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Serving clients, and all that is not named here.
    Server,
    /// Work that nobody waits for: freeing, writing and syncing the log.
    Background,
    /// Writing a snapshot.
    Saving,
    /// Rewriting the log.
    Rewriting,
}

/// Lists of processors; `None` for those not given.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// `server-cpulist`
    pub server: Option<Vec<usize>>,
    /// `bio-cpulist`
    pub background: Option<Vec<usize>>,
    /// `bgsave-cpulist`
    pub saving: Option<Vec<usize>>,
    /// `aof-rewrite-cpulist`
    pub rewriting: Option<Vec<usize>>,
}

struct Places {
    lists: Lists,
    /// Where the process was started.
    start: Vec<usize>,
}

static PLACES: OnceLock<Places> = OnceLock::new();

/// Sets the lists, and takes the server's place. To be called by the main thread before it starts
/// others; only the first call counts.
///
/// # Errors
/// When none of the processors of the server's list can be had.
pub fn set(lists: Lists) -> std::io::Result<()> {
    let start = process::thread_affinity()?;
    let first = PLACES.set(Places { lists, start }).is_ok();
    match first {
        true => take(Place::Server),
        false => Ok(()),
    }
}

/// Moves the calling thread, and those that it will start, to its place. Where nothing is set nothing
/// changes.
///
/// # Errors
/// When none of the processors can be had; the thread stays where it is.
pub fn take(place: Place) -> std::io::Result<()> {
    let Some(places) = PLACES.get() else {
        return Ok(());
    };
    match places.of(place) {
        Some(cpus) => process::set_thread_affinity(cpus),
        None => Ok(()),
    }
}

impl Places {
    /// The processors of a place, if it differs from where the process was started.
    fn of(&self, place: Place) -> Option<&[usize]> {
        let server = self.lists.server.as_deref();
        match place {
            Place::Server => server,
            Place::Background => {
                let own = self.lists.background.as_deref();
                own.or(server.map(|_| &*self.start))
            }
            Place::Saving => self.lists.saving.as_deref().or(server),
            Place::Rewriting => self.lists.rewriting.as_deref().or(server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_does_not_say() {
        let none = Places {
            lists: Lists::default(),
            start: vec![0, 1],
        };
        for place in [Place::Server, Place::Background, Place::Saving] {
            assert_eq!(none.of(place), None);
        }
        let mut some = Places {
            lists: Lists {
                server: Some(vec![3]),
                rewriting: Some(vec![4]),
                ..Lists::default()
            },
            start: vec![0, 1],
        };
        assert_eq!(some.of(Place::Server), Some(&[3][..]));
        assert_eq!(some.of(Place::Background), Some(&[0, 1][..]));
        assert_eq!(some.of(Place::Saving), Some(&[3][..]));
        assert_eq!(some.of(Place::Rewriting), Some(&[4][..]));
        some.lists.background = Some(vec![7]);
        assert_eq!(some.of(Place::Background), Some(&[7][..]));
    }
}
