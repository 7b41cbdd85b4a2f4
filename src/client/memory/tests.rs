//! `maxmemory-clients`.

use std::sync::Arc;

use super::*;
use crate::client::Endpoint;

fn connect(registry: &Registry) -> Arc<Shared> {
    let endpoint = Endpoint {
        addr: "127.0.0.1:1".into(),
        laddr: "127.0.0.1:6379".into(),
        local: true,
        unix: false,
    };
    let client = registry.connect(endpoint, -1, 0);
    registry.account(&client);
    client
}

/// Lets a client take so much more.
fn grow(registry: &Registry, client: &Shared, bytes: usize) {
    client.note_output(bytes, bytes);
    registry.account(client);
}

/// What the clients that were not closed take, counted anew.
fn sum(clients: &[Arc<Shared>]) -> u64 {
    let left = clients.iter().filter(|client| !client.has(Signal::Kill));
    left.map(|client| client.memory_bytes() as u64).sum()
}

#[test]
fn buckets_are_powers_of_two() {
    for (bytes, bucket) in [
        (0, 0),
        (1000, 0),
        ((32 << 10) - 1, 0),
        (32 << 10, 1),
        ((64 << 10) - 1, 1),
        (64 << 10, 2),
        ((4 << 30) - 1, 17),
        (4 << 30, 18),
        (u64::MAX, 18),
    ] {
        assert_eq!(bucket_of(bytes), bucket, "{bytes}");
    }
}

#[test]
fn nothing_is_counted_without_a_limit() {
    let registry = Registry::default();
    let client = connect(&registry);
    grow(&registry, &client, 1 << 40);
    assert_eq!(registry.memory.total_bytes(), 0);
    assert!(!client.has(Signal::Kill));
}

#[test]
fn the_largest_go() {
    let registry = Registry::default();
    let clients: Vec<_> = (0..10).map(|_| connect(&registry)).collect();
    grow(&registry, &clients[0], 10_000);
    registry.set_memory_limit(1 << 20);
    assert_eq!(registry.memory.total_bytes(), sum(&clients));
    grow(&registry, &clients[3], 300_000);
    grow(&registry, &clients[5], 600_000);
    assert_eq!(registry.memory.total_bytes(), sum(&clients));
    assert!(clients.iter().all(|client| !client.has(Signal::Kill)));
    grow(&registry, &clients[7], 200_000);
    let gone: Vec<_> = clients
        .iter()
        .map(|client| client.has(Signal::Kill))
        .collect();
    assert_eq!(gone.iter().position(|&gone| gone), Some(5));
    assert_eq!(
        gone.iter().filter(|&&gone| gone).count(),
        1,
        "no more than needed"
    );
    assert_eq!(registry.memory.evicted.load(Ordering::Relaxed), 1);
    // Who is being closed counts no more, whatever it still does.
    assert_eq!(registry.memory.total_bytes(), sum(&clients));
    grow(&registry, &clients[5], 5 << 20);
    assert_eq!(registry.memory.total_bytes(), sum(&clients));
    registry.disconnect(clients[5].id);
    assert_eq!(registry.memory.total_bytes(), sum(&clients));
    // The limit itself is too much.
    let left = sum(&clients);
    registry.set_memory_limit(left + 1);
    assert_eq!(registry.memory.evicted.load(Ordering::Relaxed), 1);
    registry.set_memory_limit(left);
    assert_eq!(registry.memory.evicted.load(Ordering::Relaxed), 2);
    assert!(clients[3].has(Signal::Kill));
}

#[test]
fn what_shrinks_and_goes_counts_no_more() {
    let registry = Registry::default();
    registry.set_memory_limit(1 << 20);
    let clients: Vec<_> = (0..3).map(|_| connect(&registry)).collect();
    grow(&registry, &clients[0], 900_000);
    grow(&registry, &clients[0], 0);
    grow(&registry, &clients[1], 900_000);
    assert_eq!(registry.memory.total_bytes(), sum(&clients));
    registry.disconnect(clients[1].id);
    assert_eq!(
        registry.memory.total_bytes(),
        sum(&[clients[0].clone(), clients[2].clone()])
    );
    grow(&registry, &clients[1], 5 << 20);
    assert_eq!(
        registry.memory.total_bytes(),
        sum(&[clients[0].clone(), clients[2].clone()])
    );
    registry.set_memory_limit(0);
    assert_eq!(registry.memory.total_bytes(), 0);
    registry.set_memory_limit(2 << 20);
    assert_eq!(
        registry.memory.total_bytes(),
        sum(&[clients[0].clone(), clients[2].clone()])
    );
    assert_eq!(registry.memory.evicted.load(Ordering::Relaxed), 0);
}

#[test]
fn no_evict_spares() {
    let registry = Registry::default();
    registry.set_memory_limit(1 << 20);
    let clients: Vec<_> = (0..3).map(|_| connect(&registry)).collect();
    clients[1].no_evict.store(true, Ordering::Relaxed);
    grow(&registry, &clients[1], 2 << 20);
    let gone: Vec<_> = clients
        .iter()
        .map(|client| client.has(Signal::Kill))
        .collect();
    assert_eq!(gone, [true, false, true], "all but the one that is spared");
    assert_eq!(registry.memory.total_bytes(), sum(&clients));
    // When it is spared no longer, it goes as well.
    clients[1].no_evict.store(false, Ordering::Relaxed);
    registry.account(&clients[1]);
    assert!(clients[1].has(Signal::Kill));
    assert_eq!(registry.memory.total_bytes(), 0);
}

#[test]
fn a_tiny_limit_is_a_small_one() {
    let registry = Registry::default();
    let client = connect(&registry);
    registry.set_memory_limit(1);
    assert_eq!(registry.memory.limit_bytes(), 128 << 10);
    assert!(!client.has(Signal::Kill));
}

#[test]
fn many_threads_agree_on_the_sum() {
    let registry = Arc::new(Registry::default());
    registry.set_memory_limit(1 << 40);
    let clients: Vec<_> = (0..20).map(|_| connect(&registry)).collect();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (registry, clients) = (&registry, &clients);
            scope.spawn(move || {
                for step in 0..2000 {
                    let client = &clients[(seed * 7 + step) % clients.len()];
                    grow(registry, client, (seed * 31 + step * 17) % 100_000);
                }
            });
        }
    });
    assert_eq!(registry.memory.total_bytes(), sum(&clients));
    let buckets = registry.memory.buckets.lock();
    let listed: usize = buckets.iter().map(|bucket| bucket.len()).sum();
    assert_eq!(listed, clients.len());
}
