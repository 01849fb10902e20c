# frozen_string_literal: true

require 'fileutils'
require 'json'

# What every stand-in shares: a log of its runs, and faults that a file switches on.
#
# ROOT/log           one JSON line at the start of a run and one at its end (none after kill -9)
# ROOT/faults/NAME   the fault NAME is on; the text may be its parameter
# A file named NAME.once, or one that holds the word "once", is removed when it fires.
module Faults
  FLOOD = 1 << 30 # bytes
  NOTE = 'DEPRECATION WARNING: this style of arguments will be removed in a future release.'
  GARBAGE = "\e[1;31mnoise\e[0m \e]0;title\a\n\xC3\n\xE6\x97\nhalf \xF0\x9F\x92\n\x00\x7F\nNode maybe created?\n".b.freeze

  module_function

  def start(root)
    begin_run(root, argv)
    owner = Process.pid
    at_exit do
      forced = finish($!) if Process.pid == owner
      if forced
        [$stdout, $stderr].each(&:flush)
        exit!(forced)
      end
    end
  end

  # A run with these words, which is not a process of its own or ends without at_exit.
  def begin_run(root, words)
    at(root)
    log(argv: words, env: ENV.to_h, exec_env: exec_env, cwd: Dir.pwd)
  end

  # Where the faults are, and the log.
  def at(root)
    @root = root
    FileUtils.mkdir_p(path('faults'))
  end

  # What happens before the program looks at its arguments.
  def boot
    pause = on('boot_ms') and sleep(pause.to_f / 1000)
    point('boot')
    $stdin.reopen('/dev/null') if on('close_input')
    hang if on('hang')
    leave_child(on('fork_child'))
    [$stdout, $stderr].each { |stream| stream.puts(NOTE) } if on('noise')
    [$stdout, $stderr].each { |stream| stream.write(GARBAGE) } if on('garbage')
    dress
    quit_saying(on('says'))
    flood(on('flood'))
  end

  # A named moment: the run stops here until told to go on, or by SIGSTOP, dies here by SIGKILL, or fails here.
  def point(name)
    wait(name) if on("pause_#{name}")
    Process.kill(:STOP, Process.pid) if on("stop_#{name}")
    Process.kill(:KILL, Process.pid) if on("die_#{name}")
    raise 'Lost connection to MySQL server during query' if on("raise_#{name}")
  end

  # The text of a fault's file, nil when the fault is off, as all are before start.
  def on(name)
    return unless @root

    file = [path("faults/#{name}.once"), path("faults/#{name}")].find { |candidate| File.file?(candidate) }
    return unless file

    text = File.read(file).strip
    File.delete(file) if file.end_with?('.once') || text == 'once'
    text
  rescue Errno::ENOENT # another run took it
    nil
  end

  # One write, so that lines of runs at the same time do not mix.
  def log(entry)
    line = JSON.generate(scrub({ pid: Process.pid, at: Time.now.to_f }.merge(entry)))
    File.open(path('log'), 'a') { |file| file.syswrite("#{line}\n") }
  end

  # The words as the kernel got them: the program's own ARGV may be changed already.
  def argv
    File.binread('/proc/self/cmdline').split("\0", -1)[0...-1]
  end

  # The environment as the kernel got it: rake adds its NAME=value arguments to ENV.
  def exec_env
    File.binread('/proc/self/environ').split("\0").to_h { |pair| pair.split('=', 2) }
  end

  def path(name)
    File.join(@root, name)
  end

  # Returns the status that a fault forces upon the run.
  def finish(error)
    status = error.is_a?(SystemExit) ? error.status : (error ? 1 : 0)
    forced = on('exit')&.to_i
    log(end: true, status: forced || status)
    forced
  end

  def hang
    trap('TERM', 'IGNORE')
    sleep
  end

  def flood(limit)
    return unless limit

    limit = limit.match?(/\A\d+\z/) ? limit.to_i : FLOOD
    block = "#{'0' * 4095}\n#{'x' * 4095}\n" * 8
    (limit / block.size + 1).times { $stdout.write(block) }
  end

  # Every line in colour, or with the ends that another system has.
  def dress
    dresses = []
    dresses << ->(line) { "\e[1;32m#{line.chomp}\e[0m\n" } if on('colours')
    dresses << ->(line) { "#{line.chomp}\r\n" } if on('crlf')
    return if dresses.empty?

    [$stdout, $stderr].each do |stream|
      stream.define_singleton_method(:write) do |*parts|
        parts.join.lines.sum { |line| syswrite(dresses.reduce(line) { |text, dress| dress[text] }) }
      end
    end
  end

  # Ends with success at once and does nothing, having said as little.
  def quit_saying(what)
    return unless what

    bytes = { 'nothing' => '', 'newlines' => "\n" * 100_000, 'nul' => "\0" * 100_000,
              'half' => "Node successfully cre\xC3".b }.fetch(what)
    $stdout.write(bytes)
    $stdout.flush
    log(end: true, status: 0)
    exit!(0)
  end

  # A process that holds stdout and stderr open for longer than anything waits; with the text "group" in a process group of its own.
  def leave_child(group)
    return unless group

    Process.detach(spawn('sleep', '300', pgroup: (true if group == 'group')))
  end

  def wait(name)
    File.write(path('reached'), "#{name} #{Process.pid}\n")
    sleep 0.01 until File.exist?(path('continue'))
    FileUtils.rm_f([path('reached'), path('continue')])
  end

  def scrub(value)
    case value
    when Hash then value.to_h { |key, item| [scrub(key.to_s), scrub(item)] }
    when Array then value.map { |item| scrub(item) }
    when String then value.dup.force_encoding(Encoding::UTF_8).scrub
    else value
    end
  end
end
