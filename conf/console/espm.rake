# The warm console: boots once, and runs each request from espm in a child of its own.
#
#   rake -s -f .../Rakefile -R DIRECTORY_OF_THIS_FILE RAILS_ENV=production ESPM_CONFIG=.../espm.ini espm:serve
#
# The parent has no connection to the database and reads nothing that a client sends. It accepts the user espm (the
# owner of [espm] state), its own user and root; others who can open the socket get no answer. They can run TASKS
# alone, about any node but the master.
#
# The child sends HELLO. It receives two outputs and the slot (descriptors, each with one byte), then words that each
# end in NUL: seconds, tasks, variables, "end". It answers "ended STATUS" or "refused: WHY"; without an answer, its
# effect is unknown.
#
# ESPM_IDLE    seconds without a request after which the worker ends; by default it stays
# LISTEN_FDS   descriptor 3 is the socket (systemd), which outlives the worker
#
# For Ruby 1.8.7 to 3.x with rake 0.8.7 to 13, without gems.

require 'etc'
require 'fcntl'
require 'socket'

class EspmWorker
  HELLO = "espm 2\n"
  TASKS = /\A((node|nodeclass|nodegroup):list
    |node:(listgroups|listclasses|parameters)
    |(node:(add|classes)(\ node:parameters)?\ nodeclass:list\ )?node:groups\ nodegroup:list
    |node:groups\ node:del(\ node:list|\ node:add\ nodeclass:list\ node:parameters\ nodegroup:list))\z/x
  LABEL = '[a-z0-9]([a-z0-9_-]*[a-z0-9])?'
  NODE = /\A(?!(ca|localhost|0x[0-9a-fA-F]*)\z)#{LABEL}(\.#{LABEL})*\z/
  PARAMETER = /\A[a-z_][a-zA-Z0-9_]*=(?!---)\S(.*\S)?\z/
  MEMBER = /\A\S(.*\S)?\z/
  MAX_REQUEST = 256 * 1024      # bytes
  MAX_OUTPUT = 8 * 1024 * 1024  # bytes of each output
  BACKLOG = 64                  # connections that wait for a child; Ruby 1.8's own limit is 5
  SPARE = 8                     # children beyond [console] concurrency, for handlers that were killed
  READ = 5                      # seconds in which a request must arrive
  PEERCRED = 17                 # SO_PEERCRED, which Ruby 1.8 does not define
  TICK = 0.05                   # seconds between two looks at the children

  Refused = Class.new(StandardError)

  def initialize
    ini, section = {}, nil
    lines(ENV['ESPM_CONFIG'] || abort('espm: ESPM_CONFIG is missing; start it with ESPM_CONFIG=FILE')).each do |line|
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
    abort 'espm: the locale is not UTF-8, as names can be; start it with LANG=C.UTF-8' unless utf8
  end

  def serve
    ENV.keys.grep(/\A[a-z_]+\z/).each { |name| ENV.delete(name) } # the tasks read lower-case variables
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

  # Loads the models once for all children, and closes the connection that this needs.
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
    abort "espm: #{@path}: another worker answers there; stop it first"
  rescue Errno::ECONNREFUSED
    File.unlink(@path)
  end

  def start
    client = @server.accept_nonblock
    return unless @heard.include?(client.getsockopt(Socket::SOL_SOCKET, PEERCRED).unpack('i3')[1])
    pid = fork { child(client) }
    @children[pid] = now + READ + @timeout + 1
  rescue SystemCallError # the caller has gone or fork failed; espm runs rake itself
    sleep TICK
    nil
  ensure
    client.close if client
  end

  # A child ends itself in time, or is killed. Processes that a child has left behind are killed with it.
  def reap
    @children.delete_if do |pid, last|
      kill(pid) if now > last
      kill(pid) if (gone = Process.waitpid(pid, Process::WNOHANG))
      gone
    end
  end

  def kill(group)
    Process.kill('-KILL', group)
  rescue Errno::ESRCH # the group has ended
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
    tell_end(status) if variables.any? # a list has its lines alone
    slot.flock(File::LOCK_UN) # processes that the tasks left behind must not keep it
    client.write("ended #{status}\n")
  rescue Refused
    client.write("refused: #{$!.message}\n")
  rescue Exception # no request, or no caller
  ensure
    exit!(0)
  end

  # Limits the child's time and the size of its outputs. If this thread stops, the parent kills the child.
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
    raise Refused, 'the request is incomplete' unless request.size <= MAX_REQUEST && words[-2..-1] == ['end', '']
    variables, tasks = words[1..-3].partition { |word| word.include?('=') }
    tasks = tasks.join(' ')
    raise Refused, 'these are not tasks of espm' unless tasks =~ TASKS
    variables = variables.map { |word| word.split('=', 2) }
    names = %w[classes groups name parameters]
    names = tasks =~ /\A\w+:list\z/ ? [] : %w[name] unless tasks.include?(' ')
    raise Refused, 'these are not variables of espm' unless variables.map { |name, _| name }.sort == names
    wrong, = variables.find { |name, value| !good?(name, value) }
    raise Refused, "#{wrong}: its value is not accepted" if wrong
    # espm has locked the first output. This descriptor shares that lock, which lasts while any process has it.
    files = outputs.all? { |output| output.stat.file? } && outputs[0].flock(File::LOCK_EX | File::LOCK_NB)
    raise Refused, 'the output is not a file that espm has locked' unless files
    # The same for the slot.
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
  rescue ArgumentError # not UTF-8
    false
  end

  # Runs tasks as rake itself does.
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

  # For a handler that has died: rake has ended by itself, and its output stays after a power loss.
  def tell_end(status)
    STDOUT.write("espm: exit #{status}\n")
    STDOUT.fsync
  rescue SystemCallError # a full disk
  end

  # The monotonic clock, where Ruby has it, since a step of the machine's clock must end nothing.
  def now
    defined?(Process::CLOCK_MONOTONIC) ? Process.clock_gettime(Process::CLOCK_MONOTONIC) : Time.now.to_f
  end
end

namespace :espm do
  task(:serve => :environment) { EspmWorker.new.serve }
end
