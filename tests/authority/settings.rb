# frozen_string_literal: true

# What Puppet says about itself and its settings: the version, and the master's section of puppet.conf.
class Settings
  def initialize(root, flavour)
    @flavour = flavour
    @values = { 'ssldir' => "#{root}/ssl", 'cadir' => "#{root}/ca", 'certname' => Authority::MASTER, 'user' => 'pe-puppet',
                'config' => "#{root}/puppet.conf", 'confdir' => root, 'vardir' => "#{root}/var", 'codedir' => "#{root}/code",
                'logdir' => "#{root}/log", 'rundir' => "#{root}/run", 'external_nodes' => 'none', 'node_terminus' => 'plain' }
  end

  # Answers and ends, if that was the question. Up to 2.7 the face knows no sections.
  def answer(words)
    words = words.dup
    at = words.index('--config')
    @values['config'] = words.slice!(at, 2).last if at
    # The other places come from --root; the real one takes these before and after the keys.
    %w[--confdir --vardir --codedir --logdir --rundir].each { |option| (at = words.index(option)) && words.slice!(at, 2) }
    case words
    in ['--version'] then puts(version)
    in ['config', 'print', '--section', 'master', *keys] unless @flavour.start_with?('2.7') then print(keys)
    in ['config', 'print', *keys, '--section', 'master'] unless @flavour.start_with?('2.7') then print(keys)
    in ['master', '--configprint', keys, *] then print(keys.split(','))
    in ['config', *] then exit 1
    else return
    end
    exit
  end

  private

  # The server's program names itself, puppet does not.
  def version
    return "puppetserver version: #{@flavour}" if File.basename($PROGRAM_NAME) == 'puppetserver'

    @flavour == '5.5' ? '5.5.22' : @flavour
  end

  # Those of puppet.conf, which has no sections here; else those of a master as setup makes one.
  def values
    file = @values['config']
    lines = File.exist?(file) ? File.readlines(file) : []
    @values.merge(lines.filter_map { |line| line.strip.split(' = ', 2) if line.include?(' = ') }.to_h)
  end

  def print(keys)
    known = values
    keys = keys.select { |key| known.key?(key) }.sort
    keys.each { |key| puts(keys.one? ? known[key] : "#{key} = #{known[key]}") }
  end
end
