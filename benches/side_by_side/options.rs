//! The command line: what to measure, against whom, how long.
//!
//! One struct with every choice and its default; `--quick` shrinks them all for a smoke run.
//! To add an option: a field, a default, an arm in `apply`, a line in `USAGE`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// The text of `--help`.
pub(crate) const USAGE: &str = "\
cargo bench --bench side_by_side -- [WHAT] [OPTIONS]

WHAT (default: all)
  cpu       server CPU per request and requests/s: GET, SET, INCR at pipelines 1, 16, 64
  syscalls  system calls per request at pipelines 1 and 16 (needs strace)
  memory    RSS per key: plain, with TTL, integer values
  curve     RSS per key from 0.5 to 4 million keys
  fill      latency of GETs while another client fills the server
  expiry    how late keys that are due at one instant disappear
  idle      RSS per idle connection
  hot       server CPU per INCR of one key by all connections, pipeline 64
  c500      server CPU per request with 500 connections, pipeline 8
  ops       server CPU per request of commands on one element of a hash, list, set or sorted set
  ranges    the same of commands over many elements
  elements  RSS per small collection, and per element of a large one
  grow      latency of GETs while one key grows to millions of elements, is deleted, expires
  collections  the last four
  all       everything so far except the curve
  scaling   requests/s at several numbers of I/O threads of both servers
  bgsave    a BGSAVE while a client overwrites: its latency, the memory, the time
  cut       the longest pause of any client at the start of a BGSAVE
  loading   seconds to load an RDB file and a log
  fsync     throughput and server CPU of SET with appendfsync always, everysec, and without a log
  persist   the last four
  multi     server CPU per transaction: MULTI, two INCRs, EXEC
  watch     50 clients increment one key by WATCH, GET, MULTI, SET, EXEC
  publish   messages delivered per CPU second of the server, to 1, 100, 1,000 subscribers
  tracking  what GET and SET cost more while others track keys, or with notifications
  coordination  the last four
  types     server CPU per request of streams, bitmaps, HyperLogLogs, geo; RSS per entry of a stream
  hits      hit ratio of a full cache by Zipf's law, LRU and LFU, beside ideal caches
  limit     throughput and server CPU of SET of new keys at the limit of memory
  pauses    latencies of others while keys are evicted, and while the limit is halved
  overshoot memory above the limit while four clients write
  churn     resident over used memory under minutes of overwrites with changing sizes
  flushall  longest wait of others while FLUSHALL empties millions of keys
  returned  resident memory when nine of ten keys are deleted
  evict     the last seven
  contention  the same on one key and on many, up to 16 threads whatever the cores
  tail      latencies during minutes with expiry, eviction, snapshots, rewrites, growing tables
  scripts   server CPU per request of EVAL, EVALSHA, FCALL, and of cjson and cmsgpack
  tls       server CPU per GET over TLS, pipelines 1 and 16
  handshakes  full TLS handshakes per CPU second of the server
  rights    server CPU per GET of a user with 20 rules and 5 selectors, over the default user's
  figures   server CPU per GET with statistics and metrics, over that without
  unread    memory that 200 strangers take who send and never read
  exposed   the last five
  sweep     server CPU per request and requests/s of every family of commands, beside Valkey and
            Redis: one table, one chart (not part of all; about 25 minutes)

WHO
  --kivi PATH         the binary under test (or KIVI_BENCH_BINARY; default: the one cargo built)
  --kivi-args 'A B'   more arguments for it
  --stand-in NAME     measure valkey, redis or debian in Kivi's place (to check this program)
  --against NAME      the rival: valkey, redis (both of the oracle folder) or debian (redis-server
                      of the PATH); default valkey if the folder is there, else debian
  --with-redis        show the oracle's Redis as a third column
  --before PATH       show an earlier build of Kivi as a further column
  --oracle DIR        folder with real servers (or KIVI_ORACLE; default /opt/oracle)

HOW (several of the first three may be given)
  --pin               server on one CPU, client on another, one worker thread each
  --unpinned-single   one worker thread each, not pinned
  --default           default settings of both, all cores, not pinned
  --cpus S,C          the CPUs of --pin (default 0,1)
  --tests LIST        of cpu (default get,set,incr)
  --pipelines LIST    of cpu (default 1,16,64)
  --rounds N          alternating rounds per figure (default 3)
  --seconds S         length of one load run (default 2.5)
  --only WORD         only the rows of ops, ranges, elements, grow, scaling, fsync, multi,
                      publish, tracking, types, scripts, evict, exposed, sweep that hold this word
  --keys N            keys of cpu, memory, expiry, scaling, hits, churn; a tenth in ops, a quarter in elements;
                      entries that are added, or read by groups, in types (default 1000000)
  --hit-requests N    requests of hits; half of them warm up (default 6000000)
  --hit-rate N        requests/s of its rows with a moderate pace, 0: none (default 20000)
  --limit-mib N       maxmemory of limit, pauses, overshoot (default 100)
  --churn-minutes M   length of churn (default 5)
  --churn-rate N      its overwrites per second (default 50000)
  --flush-keys N      keys of flushall (default 10000000)
  --tail-seconds S    length of the load of tail (default 180)
  --tail-rate N       its requests per second (default: 60 % of the slower server's capacity)
  --save-keys N       keys of bgsave, loading (default 5000000)
  --cut-keys N        keys of cut (default 20000000; 2.5 GB for each server)
  --overwrites N      overwrites per second while bgsave saves (default 40000)
  --elements N        elements of the large value of ops and elements, entries of the stream whose
                      memory is measured in types (default 1000000)
  --fill-keys N       keys of fill, elements of grow (default 5000000)
  --connections N     connections of idle (default 10000)
  --due N             keys due at once in expiry (default 1000)
  --clients N         connections of ops, ranges, scaling, coordination, types, scripts (default 50)
  --subscribers LIST  of publish (default 1,100,1000)
  --trackers N        tracking clients (default 1000)
  --server-threads LIST  I/O threads of scaling (default 1,2,4,8,16 as far as there are cores) and of
                      contention (default 1,2,4,8,16)
  --client-threads N  threads of the load generator (default 1; in scaling the cores that the
                      server leaves, at most twice its threads)
  --state FILE        where sweep keeps what it has measured (default target/sweep.tsv)
  --continue          go on with what is in that file
  --svg FILE          write the chart of sweep there
  --limit S           seconds that scaling may take in all: shortens its runs
  --port-base N       fixed ports N, N+1, ... (default: free ones)
  --quick             a smoke run of some seconds: proves that the benchmark works, judges nothing
  --out FILE          write the tables there too
  --strict            exit code 1 when a target is missed
";

/// A measurement that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Cpu,
    Syscalls,
    Memory,
    Curve,
    Fill,
    Expiry,
    Idle,
    Hot,
    C500,
    Ops,
    Ranges,
    Elements,
    Grow,
    Scaling,
    Contention,
    Collections,
    Bgsave,
    Cut,
    Loading,
    Fsync,
    Persist,
    Multi,
    Watch,
    Publish,
    Tracking,
    Coordination,
    Types,
    Scripts,
    Tail,
    Hits,
    Limit,
    Pauses,
    Overshoot,
    Churn,
    Flushall,
    Returned,
    Evict,
    Tls,
    Handshakes,
    Rights,
    Figures,
    Unread,
    Exposed,
    Sweep,
    All,
}

/// What `all` stands for.
const ALL: &[What] = &[
    What::Cpu,
    What::Hot,
    What::C500,
    What::Syscalls,
    What::Memory,
    What::Fill,
    What::Expiry,
    What::Idle,
    What::Ops,
    What::Ranges,
    What::Elements,
    What::Grow,
];
/// What `evict` stands for.
const EVICT: &[What] = &[
    What::Hits,
    What::Limit,
    What::Pauses,
    What::Overshoot,
    What::Churn,
    What::Flushall,
    What::Returned,
];
/// What `exposed` stands for.
const EXPOSED: &[What] = &[
    What::Tls,
    What::Handshakes,
    What::Rights,
    What::Figures,
    What::Unread,
];

impl What {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "cpu" => Self::Cpu,
            "syscalls" => Self::Syscalls,
            "memory" => Self::Memory,
            "curve" => Self::Curve,
            "fill" => Self::Fill,
            "expiry" => Self::Expiry,
            "idle" => Self::Idle,
            "hot" => Self::Hot,
            "c500" => Self::C500,
            "ops" => Self::Ops,
            "ranges" => Self::Ranges,
            "elements" => Self::Elements,
            "grow" => Self::Grow,
            "scaling" => Self::Scaling,
            "contention" => Self::Contention,
            "collections" => Self::Collections,
            "bgsave" => Self::Bgsave,
            "cut" => Self::Cut,
            "loading" => Self::Loading,
            "fsync" => Self::Fsync,
            "persist" => Self::Persist,
            "multi" => Self::Multi,
            "watch" => Self::Watch,
            "publish" => Self::Publish,
            "tracking" => Self::Tracking,
            "coordination" => Self::Coordination,
            "types" => Self::Types,
            "scripts" => Self::Scripts,
            "tail" => Self::Tail,
            "hits" => Self::Hits,
            "limit" => Self::Limit,
            "pauses" => Self::Pauses,
            "overshoot" => Self::Overshoot,
            "churn" => Self::Churn,
            "flushall" => Self::Flushall,
            "returned" => Self::Returned,
            "evict" => Self::Evict,
            "tls" => Self::Tls,
            "handshakes" => Self::Handshakes,
            "rights" => Self::Rights,
            "figures" => Self::Figures,
            "unread" => Self::Unread,
            "exposed" => Self::Exposed,
            "sweep" => Self::Sweep,
            "all" => Self::All,
            _ => return None,
        })
    }

    /// The single measurements that this one stands for, in the order in which they run.
    pub(crate) fn parts(self) -> &'static [Self] {
        match self {
            Self::All => ALL,
            Self::Exposed => EXPOSED,
            Self::Tls => &EXPOSED[..1],
            Self::Handshakes => &EXPOSED[1..2],
            Self::Rights => &EXPOSED[2..3],
            Self::Figures => &EXPOSED[3..4],
            Self::Unread => &EXPOSED[4..],
            Self::Evict => EVICT,
            Self::Hits => &EVICT[..1],
            Self::Limit => &EVICT[1..2],
            Self::Pauses => &EVICT[2..3],
            Self::Overshoot => &EVICT[3..4],
            Self::Churn => &EVICT[4..5],
            Self::Flushall => &EVICT[5..6],
            Self::Returned => &EVICT[6..],
            Self::Cpu => &[Self::Cpu],
            Self::Syscalls => &[Self::Syscalls],
            Self::Memory => &[Self::Memory],
            Self::Curve => &[Self::Curve],
            Self::Fill => &[Self::Fill],
            Self::Expiry => &[Self::Expiry],
            Self::Idle => &[Self::Idle],
            Self::Hot => &[Self::Hot],
            Self::C500 => &[Self::C500],
            Self::Ops => &[Self::Ops],
            Self::Ranges => &[Self::Ranges],
            Self::Elements => &[Self::Elements],
            Self::Grow => &[Self::Grow],
            Self::Scaling => &[Self::Scaling],
            Self::Contention => &[Self::Contention],
            Self::Collections => &ALL[ALL.len() - 4..],
            Self::Bgsave => &[Self::Bgsave],
            Self::Cut => &[Self::Cut],
            Self::Loading => &[Self::Loading],
            Self::Fsync => &[Self::Fsync],
            Self::Persist => &[Self::Bgsave, Self::Cut, Self::Loading, Self::Fsync],
            Self::Multi => &[Self::Multi],
            Self::Watch => &[Self::Watch],
            Self::Publish => &[Self::Publish],
            Self::Tracking => &[Self::Tracking],
            Self::Types => &[Self::Types],
            Self::Scripts => &[Self::Scripts],
            Self::Tail => &[Self::Tail],
            Self::Sweep => &[Self::Sweep],
            Self::Coordination => &[Self::Multi, Self::Watch, Self::Publish, Self::Tracking],
        }
    }
}

/// How the two servers are set up against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One worker thread each, the server on one CPU and the client on another.
    Pinned,
    /// One worker thread each, placed by the kernel.
    Single,
    /// Default settings of both, all cores.
    Default,
}

impl Mode {
    /// The words for table titles.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Pinned => "one worker thread each, server and client pinned to a CPU each",
            Self::Single => "one worker thread each, not pinned",
            Self::Default => "default settings of both, all cores",
        }
    }
}

/// A real server that can be compared with, or put in Kivi's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Real {
    /// `valkey-server` of the oracle folder.
    Valkey,
    /// `redis-server` of the oracle folder.
    Redis,
    /// `redis-server` of the PATH.
    Debian,
}

impl Real {
    fn from_name(name: &str) -> Result<Self> {
        Ok(match name {
            "valkey" => Self::Valkey,
            "redis" => Self::Redis,
            "debian" => Self::Debian,
            _ => bail!("'{name}' is not one of valkey, redis, debian"),
        })
    }
}

/// Every choice of a run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) what: What,
    pub(crate) kivi: PathBuf,
    pub(crate) kivi_args: Vec<String>,
    pub(crate) stand_in: Option<Real>,
    pub(crate) against: Option<Real>,
    pub(crate) with_redis: bool,
    /// An earlier build of Kivi.
    pub(crate) before: Option<PathBuf>,
    pub(crate) oracle: PathBuf,
    /// Empty: each measurement takes its own.
    pub(crate) modes: Vec<Mode>,
    /// CPU of the server and of the client in `Mode::Pinned`.
    pub(crate) cpus: (usize, usize),
    pub(crate) tests: Vec<String>,
    pub(crate) pipelines: Vec<u64>,
    pub(crate) rounds: usize,
    pub(crate) load: Duration,
    /// The same of a run of the sweep, which makes a thousand of them.
    pub(crate) sweep_load: Duration,
    /// Where the sweep keeps its figures, and whether it goes on with those that are there.
    pub(crate) state: PathBuf,
    pub(crate) goes_on: bool,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) keys: u64,
    /// Rows are wanted that hold this word; empty: all.
    pub(crate) only: String,
    pub(crate) hit_requests: u64,
    pub(crate) hit_rate: u64,
    pub(crate) limit_mib: u64,
    /// How long values are overwritten.
    pub(crate) churn: Duration,
    pub(crate) churn_rate: u64,
    pub(crate) flush_keys: u64,
    /// How long the load of tail lasts.
    pub(crate) tail: Duration,
    /// Its requests per second, if not found by measurement.
    pub(crate) tail_rate: Option<u64>,
    pub(crate) elements: u64,
    pub(crate) fill_keys: u64,
    pub(crate) save_keys: u64,
    pub(crate) cut_keys: u64,
    pub(crate) overwrites: u64,
    pub(crate) connections: usize,
    pub(crate) due: u64,
    pub(crate) clients: usize,
    pub(crate) subscribers: Vec<usize>,
    pub(crate) trackers: usize,
    /// Empty: each measurement takes its own.
    pub(crate) server_threads: Vec<usize>,
    /// None: each measurement takes its own.
    pub(crate) client_threads: Option<usize>,
    pub(crate) limit: Option<Duration>,
    pub(crate) port_base: Option<u16>,
    pub(crate) quick: bool,
    pub(crate) out: Option<PathBuf>,
    pub(crate) strict: bool,
}

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(Box<Options>),
    Help,
    /// Started by `cargo test`, not by `cargo bench`.
    Nothing,
}

impl Options {
    fn defaults() -> Self {
        let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Self {
            what: What::All,
            kivi: env("KIVI_BENCH_BINARY")
                .unwrap_or_else(|| env!("CARGO_BIN_EXE_kivi-server").into()),
            kivi_args: Vec::new(),
            stand_in: None,
            against: None,
            with_redis: false,
            before: None,
            oracle: env("KIVI_ORACLE").unwrap_or_else(|| "/opt/oracle".into()),
            modes: Vec::new(),
            cpus: (0, 1),
            tests: ["get", "set", "incr"].map(String::from).to_vec(),
            pipelines: vec![1, 16, 64],
            rounds: 3,
            load: Duration::from_millis(2500),
            sweep_load: Duration::from_millis(400),
            state: "target/sweep.tsv".into(),
            goes_on: false,
            svg: None,
            keys: 1_000_000,
            only: String::new(),
            hit_requests: 6_000_000,
            hit_rate: 20_000,
            limit_mib: 100,
            churn: Duration::from_secs(300),
            churn_rate: 50_000,
            flush_keys: 10_000_000,
            tail: Duration::from_secs(180),
            tail_rate: None,
            elements: 1_000_000,
            fill_keys: 5_000_000,
            save_keys: 5_000_000,
            cut_keys: 20_000_000,
            overwrites: 40_000,
            connections: 10_000,
            due: 1000,
            clients: 50,
            subscribers: vec![1, 100, 1000],
            trackers: 1000,
            server_threads: Vec::new(),
            client_threads: None,
            limit: None,
            port_base: None,
            quick: false,
            out: None,
            strict: false,
        }
    }

    /// Reads the arguments after the program's name.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Parsed> {
        let args: Vec<String> = args.collect();
        // Cargo itself adds `--bench`; its absence and no other word mean `cargo test`.
        if args.is_empty() {
            return Ok(Parsed::Nothing);
        }
        let mut options = Self::defaults();
        if args.iter().any(|arg| arg == "--quick") {
            options.shrink();
        }
        let mut args = args.into_iter().filter(|arg| arg != "--bench");
        while let Some(arg) = args.next() {
            if arg == "--help" || arg == "-h" {
                return Ok(Parsed::Help);
            }
            options
                .apply(&arg, &mut args)
                .with_context(|| format!("option {arg}"))?;
        }
        // The sweep is beside both.
        let redis = options.oracle.join("usr/bin/redis-server");
        options.with_redis |= options.what == What::Sweep && redis.exists();
        options.check()?;
        Ok(Parsed::Run(Box::new(options)))
    }

    /// The sizes of `--quick`; options given beside it still win.
    fn shrink(&mut self) {
        self.quick = true;
        self.rounds = 1;
        self.load = Duration::from_millis(200);
        self.sweep_load = Duration::from_millis(20);
        self.pipelines = vec![1, 16];
        self.keys = 20_000;
        self.hit_requests = 200_000;
        self.hit_rate = 0;
        self.limit_mib = 10;
        self.churn = Duration::from_millis(500);
        self.churn_rate = 20_000;
        self.flush_keys = 100_000;
        self.tail = Duration::from_secs(3);
        self.elements = 20_000;
        self.fill_keys = 100_000;
        self.save_keys = 200_000;
        self.cut_keys = 400_000;
        self.overwrites = 10_000;
        self.connections = 200;
        self.due = 50;
        self.subscribers = vec![1, 20];
        self.trackers = 50;
    }

    fn apply(&mut self, arg: &str, rest: &mut impl Iterator<Item = String>) -> Result<()> {
        let mut value = || rest.next().context("a value is missing");
        match arg {
            "--kivi" => self.kivi = value()?.into(),
            "--kivi-args" => {
                self.kivi_args = value()?.split_whitespace().map(String::from).collect();
            }
            "--stand-in" => self.stand_in = Some(Real::from_name(&value()?)?),
            "--against" => self.against = Some(Real::from_name(&value()?)?),
            "--with-redis" => self.with_redis = true,
            "--before" => self.before = Some(value()?.into()),
            "--oracle" => self.oracle = value()?.into(),
            "--pin" => self.modes.push(Mode::Pinned),
            "--unpinned-single" => self.modes.push(Mode::Single),
            "--default" => self.modes.push(Mode::Default),
            "--cpus" => {
                let list: Vec<usize> = numbers(&value()?)?;
                let [server, client] = list[..] else {
                    bail!("expected two numbers: S,C")
                };
                self.cpus = (server, client);
            }
            "--tests" => self.tests = value()?.split(',').map(str::to_lowercase).collect(),
            "--pipelines" => self.pipelines = numbers(&value()?)?,
            "--rounds" => self.rounds = value()?.parse()?,
            "--seconds" => {
                self.load = Duration::try_from_secs_f64(value()?.parse()?)?;
                self.sweep_load = self.load;
            }
            "--state" => self.state = value()?.into(),
            "--continue" => self.goes_on = true,
            "--svg" => self.svg = Some(value()?.into()),
            "--keys" => self.keys = value()?.parse()?,
            "--only" => self.only = value()?.to_lowercase(),
            "--hit-requests" => self.hit_requests = value()?.parse()?,
            "--hit-rate" => self.hit_rate = value()?.parse()?,
            "--limit-mib" => self.limit_mib = value()?.parse()?,
            "--churn-minutes" => {
                let minutes: f64 = value()?.parse()?;
                self.churn = Duration::try_from_secs_f64(minutes * 60.0)?;
            }
            "--churn-rate" => self.churn_rate = value()?.parse()?,
            "--tail-seconds" => self.tail = Duration::try_from_secs_f64(value()?.parse()?)?,
            "--tail-rate" => self.tail_rate = Some(value()?.parse()?),
            "--flush-keys" => self.flush_keys = value()?.parse()?,
            "--elements" => self.elements = value()?.parse()?,
            "--clients" => self.clients = value()?.parse()?,
            "--subscribers" => self.subscribers = numbers(&value()?)?,
            "--trackers" => self.trackers = value()?.parse()?,
            "--server-threads" => self.server_threads = numbers(&value()?)?,
            "--client-threads" => self.client_threads = Some(value()?.parse()?),
            "--limit" => self.limit = Some(Duration::try_from_secs_f64(value()?.parse()?)?),
            "--fill-keys" => self.fill_keys = value()?.parse()?,
            "--save-keys" => self.save_keys = value()?.parse()?,
            "--cut-keys" => self.cut_keys = value()?.parse()?,
            "--overwrites" => self.overwrites = value()?.parse()?,
            "--connections" => self.connections = value()?.parse()?,
            "--due" => self.due = value()?.parse()?,
            "--port-base" => self.port_base = Some(value()?.parse()?),
            "--quick" => {}
            "--out" => self.out = Some(value()?.into()),
            "--strict" => self.strict = true,
            name => self.what = What::from_name(name).context("unknown word")?,
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        ensure!(self.rounds >= 1, "--rounds must be at least 1");
        ensure!(!self.load.is_zero(), "--seconds must be more than 0");
        ensure!(
            self.keys >= 1 && self.fill_keys >= 1,
            "at least one key is needed"
        );
        ensure!(
            self.save_keys >= 1 && self.cut_keys >= 1 && self.overwrites >= 1,
            "--save-keys, --cut-keys, --overwrites: at least 1"
        );
        ensure!(
            self.due >= 1 && self.connections >= 1 && self.clients >= 1,
            "--due, --connections, --clients: at least 1"
        );
        ensure!(
            self.subscribers.iter().all(|&count| count >= 1) && self.trackers >= 1,
            "--subscribers, --trackers: at least 1"
        );
        ensure!(
            self.hit_requests >= 10_000 && self.keys >= 100,
            "--hit-requests must be at least 10000, --keys 100"
        );
        ensure!(
            self.limit_mib >= 5 && self.churn_rate >= 1 && self.flush_keys >= 1,
            "--limit-mib must be at least 5, --churn-rate and --flush-keys 1"
        );
        ensure!(self.elements >= 100, "--elements must be at least 100");
        ensure!(
            self.server_threads.iter().all(|&count| count >= 1) && self.client_threads != Some(0),
            "at least one thread is needed"
        );
        ensure!(
            self.pipelines.iter().all(|&p| p >= 1),
            "a pipeline holds at least 1 request"
        );
        ensure!(
            self.tests
                .iter()
                .all(|test| matches!(test.as_str(), "get" | "set" | "incr")),
            "--tests takes get, set, incr"
        );
        Ok(())
    }

    /// Whether a row of that label is to be measured.
    pub(crate) fn wants(&self, label: &str) -> bool {
        label.to_lowercase().contains(&self.only)
    }

    /// The modes that were asked for, or else the ones that a measurement takes by itself.
    pub(crate) fn modes_or(&self, own: &[Mode]) -> Vec<Mode> {
        if self.modes.is_empty() {
            own.to_vec()
        } else {
            self.modes.clone()
        }
    }
}

fn numbers<T: std::str::FromStr>(list: &str) -> Result<Vec<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    list.split(',')
        .map(|word| Ok(word.trim().parse()?))
        .collect()
}
