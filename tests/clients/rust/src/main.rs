//! redis-rs against Kivi: multiplexed connections shared by many tasks, connection managers that reconnect, pipelines and
//! transactions, scripts, streams, blocking reads, pub/sub and client-side caching, in both protocols and over both kinds
//! of sockets; and the plain synchronous connection.
//!
//! Prints `ok`; any deviation is a panic, which ends the process with an exit code.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::caching::CacheConfig;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, Commands, PushKind, RedisResult, Value};

/// How long something may take that takes a moment unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long an answer is waited for that may be lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("did not happen: {what}"))
}

/// The answer to a request of a manager whose connection may just have ended; `None` if there is none, and the request is
/// to be made again. One that is made at the very moment is lost and never ends: tokio's channel keeps what a sender had
/// room for when the receiver went, and with it the place where the answer is waited for.
async fn answer<T>(request: impl Future<Output = RedisResult<T>>) -> Option<T> {
    tokio::time::timeout(LOST_AFTER, request).await.ok()?.ok()
}

/// Runs a part of the check, which takes seconds.
async fn part<T>(name: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(3 * PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("does not end: {name}"))
}

async fn multiplexed(client: &Client) -> MultiplexedConnection {
    // No limit on the time of a reply: the machine may be slow, and what hangs is found by `within`.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(None);
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap()
}

/// Hundreds of tasks on one connection: every reply reaches the task that asked.
async fn shared(connection: &MultiplexedConnection) {
    let tasks: Vec<_> = (0..300)
        .map(|number: u64| {
            let mut connection = connection.clone();
            tokio::spawn(async move {
                for turn in 0..20 {
                    let key = format!("shared:{number}");
                    let value = format!("{number}:{turn}");
                    let _: () = connection.set(&key, &value).await.unwrap();
                    let found: String = connection.get(&key).await.unwrap();
                    assert_eq!(found, value);
                    let (first, second): (u64, Option<String>) = redis::pipe()
                        .atomic()
                        .incr("shared", 1)
                        .get("shared")
                        .query_async(&mut connection)
                        .await
                        .unwrap();
                    assert_eq!(second, Some(first.to_string()));
                }
            })
        })
        .collect();
    for task in tasks {
        within("a task ends", task).await.unwrap();
    }
    let sum: u64 = connection.clone().get("shared").await.unwrap();
    assert_eq!(sum, 6000);
}

async fn types(mut c: MultiplexedConnection) {
    let map: HashMap<String, i64> = (0..200).map(|n| (format!("f{n}"), n)).collect();
    let pairs: Vec<_> = map.iter().collect();
    let _: () = c.hset_multiple("hash", &pairs).await.unwrap();
    let found: HashMap<String, i64> = c.hgetall("hash").await.unwrap();
    assert_eq!(found, map);
    let _: () = c
        .zadd_multiple("zset", &[(1.5, "a"), (f64::INFINITY, "b")])
        .await
        .unwrap();
    let ranked: Vec<(String, f64)> = c.zrange_withscores("zset", 0, -1).await.unwrap();
    assert_eq!(
        ranked,
        [("a".to_owned(), 1.5), ("b".to_owned(), f64::INFINITY)]
    );
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    let _: () = c.set("bytes", &bytes).await.unwrap();
    let found: Vec<u8> = c.get("bytes").await.unwrap();
    assert_eq!(found, bytes);
    let none: Option<String> = c.get("none").await.unwrap();
    assert_eq!(none, None);
    let error: RedisResult<i64> = c.incr("bytes", 1).await;
    assert!(error.unwrap_err().to_string().contains("not an integer"));
    let error: RedisResult<i64> = c.llen("hash").await;
    assert_eq!(error.unwrap_err().code(), Some("WRONGTYPE"));
    let keys: Vec<String> = {
        let mut scan = c.scan_match::<_, String>("shared:*").await.unwrap();
        let mut keys = Vec::new();
        while let Some(key) = scan.next().await {
            keys.push(key.unwrap());
        }
        keys
    };
    assert_eq!(keys.len(), 300);
}

async fn scripts(mut c: MultiplexedConnection) {
    let script = redis::Script::new(
        "redis.call('DECRBY', KEYS[1], ARGV[1]) return {redis.call('INCRBY', KEYS[2], ARGV[1]), 'done'}",
    );
    let _: () = c.set("from", 100).await.unwrap();
    for turn in 1..=3 {
        let mut call = script.prepare_invoke();
        call.key("from").key("to").arg(10);
        let reply: (i64, String) = call.invoke_async(&mut c).await.unwrap();
        assert_eq!(reply, (10 * turn, "done".to_owned()));
        // The next one finds nothing in the cache, and loads it.
        let _: () = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query_async(&mut c)
            .await
            .unwrap();
    }
}

/// Readers of a group take entries while they are written; each entry comes once.
async fn streams(client: &Client, mut c: MultiplexedConnection) {
    let _: () = c
        .xgroup_create_mkstream("stream", "group", "0")
        .await
        .unwrap();
    let readers: Vec<_> = (0..3)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut c = multiplexed(&client).await;
                let options = StreamReadOptions::default()
                    .group("group", format!("reader{number}"))
                    .block(0)
                    .count(5);
                let mut seen = Vec::new();
                loop {
                    let reply: StreamReadReply = c
                        .xread_options(&["stream"], &[">"], &options)
                        .await
                        .unwrap();
                    for entry in &reply.keys[0].ids {
                        let acknowledged: u64 =
                            c.xack("stream", "group", &[&entry.id]).await.unwrap();
                        assert_eq!(acknowledged, 1);
                        let number: i64 = entry.get("number").unwrap();
                        if number < 0 {
                            return seen;
                        }
                        seen.push(number);
                    }
                }
            })
        })
        .collect();
    for number in 0..100 {
        let _: String = c.xadd("stream", "*", &[("number", number)]).await.unwrap();
    }
    let mut all = Vec::new();
    for reader in readers {
        // One that reads the end leaves the others to read on: an end for each, when the one before has been read.
        let mut reader = reader;
        loop {
            let _: String = c.xadd("stream", "*", &[("number", -1)]).await.unwrap();
            if let Ok(seen) = tokio::time::timeout(Duration::from_millis(20), &mut reader).await {
                all.extend(seen.unwrap());
                break;
            }
        }
    }
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

async fn waits(client: &Client, mut c: MultiplexedConnection) {
    let takers: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut c = multiplexed(&client).await;
                let (_, element): (String, i64) = c.blpop(&["jobs", "more"], 0.0).await.unwrap();
                element
            })
        })
        .collect();
    for number in 0..10 {
        let key = if number % 2 == 0 { "jobs" } else { "more" };
        let _: () = c.rpush(key, number).await.unwrap();
    }
    let mut found = Vec::new();
    for taker in takers {
        found.push(within("a taker is served", taker).await.unwrap());
    }
    found.sort_unstable();
    assert_eq!(found, (0..10).collect::<Vec<_>>());
}

/// A dedicated connection with a stream of messages, in the protocol of the address.
async fn messages(client: &Client, mut c: MultiplexedConnection) {
    let (mut sink, mut stream) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe(&["news", "other"]).await.unwrap();
    sink.psubscribe("ne*").await.unwrap();
    for number in 0..200 {
        let receivers: i64 = c.publish("news", number).await.unwrap();
        assert_eq!(receivers, 2);
    }
    let mut seen = HashMap::new();
    for _ in 0..400 {
        let message = within("a message", stream.next()).await.unwrap();
        let list: &mut Vec<i64> = seen.entry(message.from_pattern()).or_default();
        list.push(message.get_payload().unwrap());
    }
    let wanted: Vec<i64> = (0..200).collect();
    assert_eq!(
        seen,
        HashMap::from([(false, wanted.clone()), (true, wanted)])
    );
    sink.unsubscribe("news").await.unwrap();
    sink.punsubscribe("ne*").await.unwrap();
    let receivers: i64 = c.publish("news", "nobody").await.unwrap();
    assert_eq!(receivers, 0);
}

/// Kills the connection that a manager uses. One that has just reconnected may do so again, and leave the connection whose
/// number it has told: with RESP3 it hears of the end twice, from the request that fails and from the connection.
async fn kill(manager: &mut ConnectionManager, c: &mut MultiplexedConnection) {
    within("a connection is killed", async {
        loop {
            let mut request = redis::cmd("CLIENT");
            let request = request.arg("ID").query_async::<i64>(manager);
            if let Some(id) = answer(request).await {
                let killed: i64 = redis::cmd("CLIENT")
                    .arg("KILL")
                    .arg("ID")
                    .arg(id)
                    .query_async(c)
                    .await
                    .unwrap();
                if killed == 1 {
                    return;
                }
                assert_eq!(killed, 0);
            }
            // A manager without a connection may fail at once; nobody else would have his turn.
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Managers reconnect after CLIENT KILL, and subscribe again by themselves.
async fn reconnecting(client: &Client, mut c: MultiplexedConnection) {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(100)
        .set_min_delay(Duration::from_millis(1))
        .set_max_delay(Duration::from_millis(20))
        .set_response_timeout(None);
    let mut manager = ConnectionManager::new_with_config(client.clone(), config)
        .await
        .unwrap();
    for turn in 1..=5_i64 {
        kill(&mut manager, &mut c).await;
        within("it works again", async {
            while answer(manager.set::<_, _, ()>("survived", turn))
                .await
                .is_none()
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let found: i64 = c.get("survived").await.unwrap();
        assert_eq!(found, turn);
    }
}

async fn pushes(client: &Client, mut c: MultiplexedConnection) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let config = ConnectionManagerConfig::new()
        .set_push_sender(sender)
        .set_automatic_resubscription()
        .set_response_timeout(None);
    let mut manager = ConnectionManager::new_with_config(client.clone(), config)
        .await
        .unwrap();
    manager.subscribe("pushed").await.unwrap();
    let mut next = async |kind: PushKind| {
        loop {
            let push = within("a push", receiver.recv()).await.unwrap();
            if push.kind == kind {
                return push.data;
            }
        }
    };
    next(PushKind::Subscribe).await;
    for number in 0..50 {
        let _: () = c.publish("pushed", number).await.unwrap();
        let data = next(PushKind::Message).await;
        assert_eq!(data[1], Value::BulkString(number.to_string().into_bytes()));
    }
    let killed: i64 = redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("PUBSUB")
        .query_async(&mut c)
        .await
        .unwrap();
    assert!(killed >= 1);
    // A manager notices it with its next command, and subscribes again.
    within("it is subscribed again", async {
        loop {
            answer(redis::cmd("PING").query_async::<String>(&mut manager)).await;
            let receivers: i64 = c.publish("pushed", "again").await.unwrap();
            if receivers == 1 {
                break;
            }
        }
    })
    .await;
}

/// Client-side caching: hits come out of the cache, and another client's write is seen.
async fn caching(client: &Client, mut writer: MultiplexedConnection) {
    let config = AsyncConnectionConfig::new().set_cache_config(CacheConfig::default());
    let mut reader = client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap();
    for turn in 0..50_i64 {
        let _: () = writer.set("cached", turn).await.unwrap();
        within("the cache hears of it", async {
            while reader.get::<_, i64>("cached").await.unwrap() != turn {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(reader.get::<_, i64>("cached").await.unwrap(), turn);
    }
    let figures = reader.get_cache_statistics().unwrap();
    assert!(figures.hit >= 50 && figures.invalidate >= 49, "{figures:?}");
}

/// The synchronous connection: optimistic transactions of several threads.
fn synchronous(client: &Client) {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || {
                let mut c = client.get_connection().unwrap();
                // A thread cannot be given up, as a task can.
                c.set_read_timeout(Some(PATIENCE)).unwrap();
                for _ in 0..25 {
                    let (_,): (i64,) = redis::transaction(&mut c, &["watched"], |c, pipe| {
                        let value: i64 = c.get::<_, Option<i64>>("watched")?.unwrap_or(0);
                        pipe.set("watched", value + 1)
                            .ignore()
                            .get("watched")
                            .query(c)
                    })
                    .unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut c = client.get_connection().unwrap();
    assert_eq!(c.get::<_, i64>("watched").unwrap(), 100);
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let port = std::env::var("SERVER_PORT").unwrap();
    let socket = std::env::var("SERVER_SOCKET").unwrap();
    let address = |protocol: &str, unix: bool| match unix {
        false => format!("redis://127.0.0.1:{port}/0?protocol={protocol}"),
        true => format!("redis+unix://{socket}?protocol={protocol}"),
    };
    for (protocol, unix) in [("resp2", false), ("resp3", false), ("resp3", true)] {
        let client = Client::open(address(protocol, unix)).unwrap();
        let mut c = multiplexed(&client).await;
        let _: () = redis::cmd("FLUSHALL").query_async(&mut c).await.unwrap();
        part("shared", shared(&c)).await;
        part("types", types(c.clone())).await;
        part("scripts", scripts(c.clone())).await;
        part("streams", streams(&client, c.clone())).await;
        part("waits", waits(&client, c.clone())).await;
        part("messages", messages(&client, c.clone())).await;
        part("reconnecting", reconnecting(&client, c.clone())).await;
        if protocol == "resp3" {
            part("pushes", pushes(&client, c.clone())).await;
            part("caching", caching(&client, c.clone())).await;
        }
        let last = tokio::task::spawn_blocking(move || synchronous(&client));
        part("synchronous", last).await.unwrap();
    }
    println!("ok");
}
