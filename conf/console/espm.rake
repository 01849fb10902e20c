# The warm console: boots once, and runs each request of espm's in a child of its own.
#
#   rake -s -f .../Rakefile -R DIRECTORY_OF_THIS_FILE RAILS_ENV=production ESPM_CONFIG=.../espm.ini espm:serve
#
# The process that waits has no connection to the database and reads nothing that a client sends.
# The user espm (the owner of [espm] state), this one and root may run TASKS, about any node but the master, and
# nothing else. Nobody else is heard, even if the socket can be opened. The child says HELLO; it is sent
# the two outputs and the slot (descriptors, each with one byte), then words that each end in NUL: seconds,
# tasks, variables, "end"; it says "ended STATUS" or "refused: WHY".
# If it says nothing, its effect is unknown.
#
# ESPM_IDLE    seconds without a request after which the worker ends; without it, it stays
# LISTEN_FDS   the socket is descriptor 3 (systemd) and outlives the worker
#
# For Ruby 1.8.7 to 3.x with rake 0.8.7 to 13, without gems.

require 'etc'
require 'fcntl'
require 'socket'

class EspmWorker
  HELLO = "espm 2\n"
  TASKS = /\A((node|nodeclass|nodegroup):list
    |node:(add|classes)(\ node:parameters)?\ nodeclass:list\ node:groups\ nodegroup:list
    |node:groups\ node:del(\ node:list|\ node:add\ nodeclass:list\ node:parameters\ nodegroup:list))\z/x
  LABEL = '[a-z0-9]([a-z0-9_-]*[a-z0-9])?'
  NODE = /\A(?!(ca|localhost|0x[0-9a-fA-F]*)\z)#{LABEL}(\.#{LABEL})*\z/
  PARAMETER = /\A[a-z_][a-zA-Z0-9_]*=(?!---)\S(.*\S)?\z/
  MEMBER = /\A\S(.*\S)?\z/
  MAX_REQUEST = 256 * 1024      # bytes
  MAX_OUTPUT = 8 * 1024 * 1024  # bytes of each output
  BACKLOG = 64                  # connections that wait for a child; Ruby 1.8 has 5 by itself
  SPARE = 8                     # children beyond [console] concurrency: of handlers that were killed
  READ = 5                      # seconds in which a request must be here
  PEERCRED = 17                 # SO_PEERCRED, which Ruby 1.8 does not know
  TICK = 0.05                   # seconds between two looks at what runs

  Refused = Class.new(StandardError)

  def initialize
    ini, section = {}, nil
    lines(ENV['ESPM_CONFIG'] || abort('espm: ESPM_CONFIG=FILE is missing')).each do |line|
      section = $1 if line =~ /\A\s*\[(.*)\]\s*\z/
      ini["#{section} #{$1}"] = $2 if line =~ /\A\s*(\w+)\s*=\s*(.*?)\s*\z/
    end
    @path = ini['console worker'] || abort('espm: [console] worker: is missing')
    @master = (ini['authority master'] || abort('espm: [authority] master: is missing')).downcase
    state = ini['espm state'] || abort('espm: [espm] state: is missing')
    @heard = [0, Process.euid, File.stat(state).uid]
    @timeout = (ini['console timeout'] || 120).to_i
    @most = SPARE + (ini['console concurrency'] || File.read('/proc/cpuinfo').scan(/^processor/).size).to_i
    utf8 = !defined?(Encoding) || Encoding.find('locale') == Encoding::UTF_8
    abort 'espm: names can be UTF-8: start it with LANG=C.UTF-8 or another such locale' unless utf8
  end

  def serve
    ENV.keys.grep(/\A[a-z_]+\z/).each { |name| ENV.delete(name) } # the tasks read such
    load_models
    listen
    @children, idle, last = {}, ENV['ESPM_IDLE'], now
    %w[INT TERM].each { |signal| trap(signal) { exit } }
    while @children.any? || idle.nil? || (left = last + idle.to_i - now) > 0
      ready = IO.select(@children.size < @most ? [@server] : [], nil, nil, @children.any? ? TICK : left)
      reap
      last = now if ready && start
    end
  ensure
    close if @children
  end

  private

  def lines(path)
    File.readlines(path)
  rescue Errno::EACCES
    add = "usermod -aG #{Etc.getgrgid(File.stat(path).gid).name} #{Etc.getpwuid(Process.euid).name}"
    abort "espm: #{path}: Permission denied; add the console's user to the file's group: #{add}"
  end

  # What the first task of a child would load is loaded here; the connection that this needs is given up.
  def load_models
    return unless defined?(ActiveRecord::Base) && defined?(Rails.root)
    Dir["#{Rails.root}/app/models/*.rb"].each do |file|
      begin
        model = File.basename(file, '.rb').camelize.constantize
        model.columns if model.respond_to?(:columns)
      rescue StandardError, LoadError # the task that needs it says so
      end
    end
    disconnect
  end

  def disconnect
    ActiveRecord::Base.connection_handler.clear_all_connections! if defined?(ActiveRecord::Base)
  end

  def listen
    if ENV['LISTEN_FDS']
      @server = UNIXServer.for_fd(3)
    else
      remove_stale if File.socket?(@path)
      mask = File.umask(0117)
      @server = UNIXServer.open(@path)
      File.umask(mask)
      @inode = File.stat(@path).ino
    end
    @server.listen(BACKLOG)
    @server.fcntl(Fcntl::F_SETFD, Fcntl::FD_CLOEXEC)
    puts "espm: ready at #{@path}"
    $stdout.flush
  end

  def remove_stale
    UNIXSocket.open(@path).close
    abort "espm: #{@path}: another worker answers there"
  rescue Errno::ECONNREFUSED
    File.unlink(@path)
  end

  def start
    client = @server.accept_nonblock
    return unless @heard.include?(client.getsockopt(Socket::SOL_SOCKET, PEERCRED).unpack('i3')[1])
    pid = fork { child(client) }
    @children[pid] = now + READ + @timeout + 1
  rescue SystemCallError # the caller is gone, or this machine has no room; espm runs rake itself
    sleep TICK
    nil
  ensure
    client.close if client
  end

  # A child ends itself in time. One that cannot is killed, and with every child what it has left behind.
  def reap
    @children.delete_if do |pid, last|
      kill(pid) if now > last
      kill(pid) if (gone = Process.waitpid(pid, Process::WNOHANG))
      gone
    end
  end

  def kill(group)
    Process.kill('-KILL', group)
  rescue Errno::ESRCH # all of it is gone
  end

  def close
    @server.close
    File.unlink(@path) if @inode && File.exist?(@path) && File.stat(@path).ino == @inode
    sleep TICK until reap.empty?
  end

  def child(client)
    Process.setpgrp
    [STDIN, STDOUT, STDERR].each { |stream| stream.reopen('/dev/null', 'r+') }
    limit(READ)
    @server.close
    %w[INT TERM].each { |signal| trap(signal, 'DEFAULT') }
    client.fcntl(Fcntl::F_SETFD, Fcntl::FD_CLOEXEC)
    client.write(HELLO)
    outputs = [client.recv_io(File, 'w'), client.recv_io(File, 'w')]
    slot = client.recv_io(File, 'r')
    slot.fcntl(Fcntl::F_SETFD, Fcntl::FD_CLOEXEC)
    seconds, tasks, variables = judge(client.read(MAX_REQUEST + 1).to_s, outputs, slot)
    STDOUT.reopen(outputs[0])
    STDERR.reopen(outputs[1])
    outputs.each { |output| output.close }
    limit([seconds, @timeout].min)
    variables.each { |name, value| ENV[name] = value }
    status = run(tasks)
    slot.flock(File::LOCK_UN) # a process that the tasks left behind must not keep it
    client.write("ended #{status}\n")
  rescue Refused
    client.write("refused: #{$!.message}\n")
  rescue Exception # no request, or no caller
  ensure
    exit!(0)
  end

  # Gives the child so many seconds, and its outputs their size. If this thread stops, the parent kills the child.
  def limit(seconds)
    @limit.kill if @limit
    last = now + seconds
    @limit = Thread.new do
      sleep TICK while now < last && [STDOUT, STDERR].all? { |output| output.stat.size <= MAX_OUTPUT }
      kill(Process.pid)
    end
  end

  def judge(request, outputs, slot)
    words = request.split("\0", -1)
    raise Refused, 'the request is not whole' unless request.size <= MAX_REQUEST && words[-2..-1] == ['end', '']
    variables, tasks = words[1..-3].partition { |word| word.include?('=') }
    tasks = tasks.join(' ')
    raise Refused, 'these are not tasks of espm' unless tasks =~ TASKS
    variables = variables.map { |word| word.split('=', 2) }
    names = tasks =~ /\A\w+:list\z/ ? [] : %w[classes groups name parameters]
    raise Refused, 'these are not variables of espm' unless variables.map { |name, _| name }.sort == names
    wrong, = variables.find { |name, value| !good?(name, value) }
    raise Refused, "#{wrong}: its value is not accepted" if wrong
    # The first output is the proof, which espm has locked. Here it is the same lock: it lasts as long
    # as any process has that output.
    files = outputs.all? { |output| output.stat.file? } && outputs[0].flock(File::LOCK_EX | File::LOCK_NB)
    raise Refused, 'the output is not a file that espm has locked' unless files
    # So does the slot's, in the place of the caller.
    held = slot.stat.file? && slot.flock(File::LOCK_EX | File::LOCK_NB)
    raise Refused, 'the slot is not a file that espm has locked' unless held
    [[words[0].to_i, 1].max, tasks.split(' '), variables]
  end

  def good?(name, value)
    codes = value.unpack('U*')
    return false if codes.any? { |code| code < 32 || (127..159).include?(code) }
    case name
    when 'name' then value.size <= 64 && value =~ NODE && value != @master
    when 'parameters' then codes.all? { |code| code <= 0xFFFF } && value.split(',', -1).all? { |pair| pair =~ PARAMETER }
    else value.split(',', -1).all? { |member| member =~ MEMBER }
    end
  rescue ArgumentError # no UTF-8
    false
  end

  # As rake itself runs them.
  def run(tasks)
    srand
    $stdout.sync = $stderr.sync = true
    Rake.application.top_level_tasks.replace(tasks)
    Rake.application.standard_exception_handling { Rake.application.top_level }
    0
  rescue SystemExit
    $!.status
  ensure
    disconnect
  end

  # A step of the machine's clock ends nothing, where Ruby knows another.
  def now
    defined?(Process::CLOCK_MONOTONIC) ? Process.clock_gettime(Process::CLOCK_MONOTONIC) : Time.now.to_f
  end
end

namespace :espm do
  task(:serve => :environment) { EspmWorker.new.serve }
end
