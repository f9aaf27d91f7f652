# A worker of Sidekiq: sidekiq -r ./sidekiq.rb, with MODE, FILE and PORTS in the environment.
require 'sidekiq'

ports = ENV.fetch('PORTS').split.map(&:to_i)
at = { url: "redis://localhost:#{ports[0]}" }
if ENV['MODE'] == 'Sentinel'
  at = { url: 'redis://raftline', role: :master, sentinels: ports.map { |port| { host: 'localhost', port: port } } }
end
Sidekiq.configure_server { |config| config.redis = at }

class Note
  include Sidekiq::Worker

  def perform(item)
    File.write(ENV.fetch('FILE'), "#{item}\n", mode: 'a')
  end
end
