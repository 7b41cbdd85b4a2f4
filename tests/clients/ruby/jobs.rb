# Jobs of Sidekiq, as its workers load them (`sidekiq -r jobs.rb`). What a job has done it writes into keys.
require 'sidekiq'

ADDRESS = { url: "redis://127.0.0.1:#{ENV.fetch('SERVER_PORT')}/2" }.freeze
Sidekiq.configure_client { |config| config.redis = ADDRESS }
Sidekiq.configure_server do |config|
  config.redis = ADDRESS
  config.average_scheduled_poll_interval = 1
  config.death_handlers << ->(job, _error) { STORE.rpush('dead', job['args'].first) }
end
Redis.silence_deprecations = true
STORE = Redis.new(url: "redis://127.0.0.1:#{ENV.fetch('SERVER_PORT')}/3")

class Count
  include Sidekiq::Worker

  def perform(name)
    STORE.incr("ran:#{name}")
  end
end

# Fails so many times, then succeeds.
class Flaky
  include Sidekiq::Worker
  sidekiq_options retry: 3

  def perform(name, failures)
    raise "not yet: #{name}" if STORE.incr("tries:#{name}") <= failures

    STORE.incr("ran:#{name}")
  end
end

class Urgent
  include Sidekiq::Worker
  sidekiq_options queue: 'urgent'

  def perform(number)
    STORE.rpush('order', number)
  end
end

# Waits until it is let go. A worker that is told to end meanwhile puts it back into its queue.
class Slow
  include Sidekiq::Worker

  def perform(name)
    return if STORE.incr("tries:#{name}") > 1

    STORE.set("running:#{name}", 1)
    sleep 600
  end
end
