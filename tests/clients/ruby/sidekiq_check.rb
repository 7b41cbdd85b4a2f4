# Sidekiq on Kivi, with Debian's redis-rb: a real worker process does real jobs.
#
# Bulk pushes, scheduled jobs, retries, jobs that die, queues by weight, the figures of Sidekiq's own API, pausing (TSTP)
# and a worker that is ended in the middle of a job; then redis-rb itself: pipelines, WATCH, pub/sub, scripts, blocking
# reads. Prints `ok`; any deviation is an exception and exit code 1.
require 'sidekiq/api'
require 'tmpdir'
require_relative 'jobs'

PATIENCE = 60
PLAIN = Redis.new(url: "redis://127.0.0.1:#{ENV.fetch('SERVER_PORT')}/4")

def check(what)
  raise "wrong: #{what}" unless yield
end

def eventually(what)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + PATIENCE
  until yield
    raise "did not happen: #{what}" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

    sleep 0.005
  end
end

# (It has four seconds to end: what is put back earlier could meet its own threads, which still wait for two.)
def worker(folder, name)
  log = File.join(folder, name)
  command = ['sidekiq', '-r', File.join(__dir__, 'jobs.rb'), '-c', '5', '-q', 'urgent,5', '-q', 'default', '-t', '4']
  Process.spawn(*command, out: log, err: log)
end

def finish(pid)
  Process.kill('TERM', pid)
  Process.wait(pid)
  check("exit code #{$?.exitstatus}") { $?.success? }
end

def ran(name)
  STORE.get("ran:#{name}").to_i
end

def queues
  Sidekiq::Client.push_bulk('class' => Count, 'args' => Array.new(300) { ['bulk'] })
  200.times { Count.perform_async('one') }
  eventually('all jobs have run') { ran('bulk') == 300 && ran('one') == 200 }
  Count.perform_in(1, 'later')
  check('it is scheduled') { Sidekiq::ScheduledSet.new.size == 1 || ran('later') == 1 }
  eventually('the scheduled job has run') { ran('later') == 1 }
  far = Count.perform_in(3600, 'never')
  check('it is deleted') { Sidekiq::ScheduledSet.new.find_job(far).delete }
end

# Retries are due in half a minute or so. Whoever does not want to wait takes them out of their set.
def soon
  Sidekiq::RetrySet.new.each(&:add_to_queue)
  true
end

def retries
  Flaky.perform_async('flaky', 2)
  eventually('it succeeds after two retries') { soon && ran('flaky') == 1 }
  check('three tries') { STORE.get('tries:flaky') == '3' }
  Flaky.perform_async('hopeless', 99)
  eventually('it is dead') { soon && STORE.lrange('dead', 0, -1) == ['hopeless'] && Sidekiq::DeadSet.new.size == 1 }
  check('four tries') { STORE.get('tries:hopeless') == '4' }
  STORE.set('tries:hopeless', 99)
  Sidekiq::DeadSet.new.first.retry
  eventually('the dead job lives') { ran('hopeless') == 1 }
end

# A worker tells of what it has done every few seconds.
def figures
  eventually('its figures') do
    stats = Sidekiq::Stats.new
    stats.processed >= 500 && stats.failed == 6 && stats.enqueued.zero? && stats.retry_size.zero?
  end
  eventually('one process') { Sidekiq::ProcessSet.new.size == 1 }
end

# Whoever ends a worker in the middle of a job finds the job in its queue again.
def ends(folder, pid)
  Slow.perform_async('slow')
  eventually('it runs') { STORE.get('running:slow') }
  finish(pid)
  check('it was put back') { Sidekiq::Queue.new.map(&:klass) == ['Slow'] }
  10.times { |number| Urgent.perform_async(number) }
  check('ten are urgent') { Sidekiq::Queue.new('urgent').size == 10 }
  second = worker(folder, 'second')
  eventually('all have run') { STORE.get('tries:slow') == '2' && STORE.llen('order') == 10 }
  check('all urgent ones') { STORE.lrange('order', 0, -1).map(&:to_i).sort == (0..9).to_a }
  finish(second)
  check('it has said good-bye') { Sidekiq::ProcessSet.new(false).to_a.empty? }
end

def optimistic
  threads = Array.new(5) do
    Thread.new do
      redis = Redis.new(url: PLAIN.id)
      10.times do
        loop do
          done = redis.watch('counter') do
            value = redis.get('counter').to_i
            redis.multi { |multi| multi.set('counter', value + 1) }
          end
          break if done
        end
      end
    end
  end
  threads.each(&:join)
  check('no increment is lost') { PLAIN.get('counter') == '50' }
end

def messages
  seen = []
  listener = Thread.new do
    subscriber = Redis.new(url: PLAIN.id)
    subscriber.psubscribe('news.*') do |on|
      on.pmessage do |_, channel, message|
        seen << [channel, message]
        subscriber.punsubscribe if message == 'end'
      end
    end
  end
  eventually('it listens') { PLAIN.pubsub(:numpat) == 1 }
  20.times { |number| PLAIN.publish("news.#{number % 2}", number) }
  PLAIN.publish('news.0', 'end')
  check('the listener ends') { listener.join(PATIENCE) }
  check("messages: #{seen}") { seen.size == 21 && seen.first == ['news.0', '0'] }
end

def plain
  replies = PLAIN.pipelined do |pipe|
    500.times { |number| pipe.set("k:#{number}", number) }
    pipe.mget('k:1', 'k:499', 'none')
  end
  check('pipelines') { replies.last == ['1', '499', nil] && replies.first == 'OK' }
  check('scan') { PLAIN.scan_each(match: 'k:*').to_a.uniq.size == 500 }
  script = "redis.call('INCRBY', KEYS[1], ARGV[1]) return {KEYS[1], redis.call('GET', KEYS[1])}"
  check('scripts') { PLAIN.eval(script, keys: ['sum'], argv: [5]) == %w[sum 5] }
  check('evalsha') { PLAIN.evalsha(PLAIN.script(:load, script), keys: ['sum'], argv: [6]) == %w[sum 11] }
  taker = Thread.new { Redis.new(url: PLAIN.id).blpop('a', 'b', timeout: PATIENCE) }
  eventually('it waits') { PLAIN.info('clients')['blocked_clients'].to_i >= 1 }
  PLAIN.rpush('b', 'x')
  check('blpop') { taker.value == %w[b x] }
  PLAIN.zadd('z', [[1.5, 'a'], [2.5, 'b']])
  check('sorted sets') { PLAIN.zrange('z', 0, -1, with_scores: true) == [['a', 1.5], ['b', 2.5]] }
  PLAIN.xadd('s', { 'f' => 'v' })
  check('streams') { PLAIN.xrange('s').first.last == { 'f' => 'v' } }
  optimistic
  messages
end

Dir.mktmpdir do |folder|
  plain
  first = worker(folder, 'first')
  begin
    queues
    retries
    figures
    ends(folder, first)
  rescue StandardError
    Dir.glob("#{folder}/*") { |log| warn File.read(log)[-4000..] || File.read(log) }
    raise
  ensure
    begin
      Process.kill('KILL', first)
    rescue Errno::ESRCH
      nil
    end
  end
end
puts 'ok'
