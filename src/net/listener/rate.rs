//! How many new connections are taken in one turn of the event loop, so that a storm of them holds up nobody who is
//! being served (`max-new-connections-per-cycle`, `max-new-tls-connections-per-cycle`).
//!
//! A turn ends when the runtime has polled what is ready and has looked at its sockets; that is what a task waits for
//! that yields. The limit holds twice: for each listener on the thread which accepts, and for each worker, which
//! begins to serve, and where those are that would have to wait.

/// Counts what one task has taken in this turn.
#[derive(Default)]
pub struct Cycle {
    taken: u32,
}

impl Cycle {
    /// Waits for the next turn if `most` were taken in this one, and counts one more.
    pub async fn take(&mut self, most: u32) {
        if self.taken >= most {
            tokio::task::yield_now().await;
            self.taken = 0;
        }
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    #[test]
    fn others_are_served_between_the_few_of_a_turn() {
        const TAKEN: u32 = 1000;
        let runtime = Builder::new_current_thread()
            .build_local(LocalOptions::default())
            .unwrap();
        for most in [1, 3, 10] {
            let in_turn = Rc::new(Cell::new(0));
            let worst = Rc::new(Cell::new(0));
            runtime.block_on(async {
                let (count, most_seen) = (in_turn.clone(), worst.clone());
                // Somebody who is served in every turn.
                let served = tokio::task::spawn_local(async move {
                    loop {
                        most_seen.set(most_seen.get().max(count.replace(0)));
                        tokio::task::yield_now().await;
                    }
                });
                let storm = tokio::task::spawn_local(async move {
                    let mut cycle = Cycle::default();
                    for _ in 0..TAKEN {
                        cycle.take(most).await;
                        in_turn.set(in_turn.get() + 1);
                    }
                });
                storm.await.unwrap();
                served.abort();
            });
            // Who comes first may change from turn to turn.
            let seen = worst.get();
            assert!(
                (most..=2 * most).contains(&seen),
                "{seen}, {most} at a time"
            );
        }
    }
}
