# frozen_string_literal: true

# What Puppet says about itself and its settings: the version, and the master's section of puppet.conf.
class Settings
  def initialize(root, flavour)
    @flavour = flavour
    @values = { 'ssldir' => "#{root}/ssl", 'cadir' => "#{root}/ca", 'certname' => 'master.example.com', 'user' => 'pe-puppet',
                'config' => "#{root}/puppet.conf", 'confdir' => root, 'vardir' => "#{root}/var", 'codedir' => "#{root}/code",
                'logdir' => "#{root}/log", 'rundir' => "#{root}/run" }
  end

  # Answers and ends, if that was the question. Up to 2.7 the face knows no sections.
  def answer(words)
    case words
    in ['--version'] then puts(@flavour == '5.5' ? '5.5.22' : @flavour)
    in ['config', 'print', *keys, '--section', 'master'] unless @flavour.start_with?('2.7') then print(keys)
    in ['master', '--configprint', keys] then print(keys.split(','))
    in ['config', *] then exit 1
    else return
    end
    exit
  end

  private

  def print(keys)
    keys = keys.select { |key| @values.key?(key) }
    keys.each { |key| puts(keys.one? ? @values[key] : "#{key} = #{@values[key]}") }
  end
end
