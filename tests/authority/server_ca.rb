# frozen_string_literal: true

require_relative 'authority'

# `puppetserver ca`: asks a running server, whose part is played here as well.
class ServerCa
  USAGE = "\nUsage:\n  puppetserver ca ACTION [--help]\n  puppetserver ca ACTION [--config] --certname NAME[,NAME]\n"
  SERVER = 'https://localhost:8140/puppet-ca/v1'
  Refused = Class.new(StandardError)

  def initialize(authority, flavour)
    @ca = authority
    # From 8.2.2 on it revokes every certificate of a name that has not expired.
    @renews = Gem::Version.new(flavour) >= Gem::Version.new('8.2.2')
  end

  def run(words)
    action, *rest = words
    return refuse("Unknown action: #{action}", usage: true) unless %w[generate revoke clean list].include?(action)

    names = certnames(rest)
    return refuse("Could not read file '#{@config}'", usage: true) if @config && !File.readable?(@config)
    return list if action == 'list'
    return refuse("At least one certname is required to #{action}", usage: true) if names.empty?
    raise OpenSSL::X509::StoreError, 'X509_LOOKUP_load_file: system lib' unless @ca.exist?

    names.map { |name| send(action, name) }.max
  rescue Refused => e
    e.message == 'down' ? unreachable(action) : refuse(e.message, usage: true)
  end

  private

  def generate(name)
    check(name)
    found = %i[certificate private_key public_key signed].select { |kind| @ca.has?(kind, name) }
    if found.any?
      return refuse(*found.map { |kind| "Existing file at '#{@ca.path(kind, name)}'" },
                    "Please delete these files if you really want to generate a new cert for #{name}.")
    end
    key = save_keys(name) or return 1
    return unreachable('generate') if Faults.on('server_down') || Faults.on('fail_after_key')

    return complain("#{name} already has a requested certificate; ignoring certificate request") if @ca.has?(:ca_request, name)

    complaint = server_complaint(name)
    return complain(complaint) if complaint

    puts "Successfully submitted certificate request for #{name}"
    die_and_sign_later(name, key) if Faults.on('late_sign')
    complain("Signed certificate #{name} could not be found on the CA") # the question whether it is signed already
    cert = @ca.sign(name, key.public_key, alt_name: true, facts: @ca.facts_in(facts_file))
    puts "Successfully signed certificate request for #{name}"
    @ca.publish(name, served(name) || cert, mode: 0o640)
    puts "Successfully saved certificate for #{name} to #{@ca.path(:certificate, name)}"
    Faults.point('after_generate')
    0
  end

  # What the server gives for the name, which may be another's by now; how it serves a file that is cut short was not seen.
  def served(name)
    @ca.signed(name)
  rescue OpenSSL::X509::CertificateError
    nil
  end

  # The server is a process of its own: it signs although the program that asked it to has been killed.
  def die_and_sign_later(name, key)
    server = fork do
      Process.setsid
      [$stdin, $stdout, $stderr].each { |stream| stream.reopen(File::NULL) }
      Faults.wait('late_sign')
      @ca.sign(name, key.public_key, alt_name: true)
      exit!
    end
    Process.detach(server)
    Process.kill(:KILL, Process.pid)
  end

  # Once more is success too, without a second entry.
  def revoke(name)
    raise Refused, 'down' if Faults.on('server_down')

    Faults.point('before_revoke')
    return complain("Could not find certificate for #{name}") unless @ca.has?(:signed, name)

    serials = @renews ? @ca.unexpired(name) : [@ca.signed(name).serial.to_i]
    serials.each { |serial| @ca.revoke(serial) unless @ca.revoked?(serial) }
    puts "Certificate for #{name} has been revoked"
    Faults.point('after_revoke')
    0
  end

  # The requests that wait; the server is asked.
  def list
    raise Refused, 'down' if Faults.on('server_down')

    names = Dir[@ca.path(:ca_request, '*')].map { |path| File.basename(path, '.pem') }
    puts names.empty? ? 'No certificates to list' : 'Requested Certificates:'
    names.each { |name| puts "    #{name.ljust(names.map(&:size).max + 6)} (SHA256)  #{'AA:' * 31}AA" }
    0
  end

  # The files outside the CA stay.
  def clean(name)
    return complain("Could not find files to clean for #{name}") unless @ca.has?(:signed, name)

    revoke(name)
    FileUtils.rm_f(@ca.path(:signed, name))
    puts "Cleaned files related to #{name}"
    0
  end

  def certnames(words)
    names = []
    until words.empty?
      option, value = words.shift.split('=', 2)
      raise Refused, "Unknown input `#{option}`" unless option.to_s.start_with?('-')
      raise Refused, "invalid option: #{option}" unless %w[--certname --config].include?(option)

      value ||= words.shift
      @config = value if option == '--config'
      names += value.to_s.split(',') if option == '--certname'
      @config = value if option == '--config'
    end
    names
  end

  def check(name)
    raise Refused, "Cannot manage cert named #{name} from command line" if name.start_with?('--')
    raise Refused, 'Certificate names must be lower case' if name.match?(/[A-Z]/)
    return if name.b.match?(/\A[ -.0-~]+\Z/n)

    raise Refused, "Certname #{name} must not contain unprintable or non-ASCII characters"
  end

  # As the real one reads puppet.conf: sections that come twice are one, a later line counts.
  def facts_file
    section = nil
    File.foreach(@config || '/dev/null') do |line|
      section = line[/^\s*\[(\w+)\]/, 1] || section
      found = line[/^\s*csr_attributes\s*=\s*([^\s{#]+)/, 1]
      @facts = found if found && %w[agent main master server].include?(section)
    end
    @facts || @ca.file('csr_attributes.yaml')
  end

  def save_keys(name)
    key = @ca.new_key
    if @ca.has?(:private_key, name)
      refuse("Private key #{name}.pem already exists. Please delete it if you really want to regenerate it.")
      return
    end
    @ca.save_keys(name, key, public_mode: 0o640)
    puts "Successfully saved private key for #{name} to #{@ca.path(:private_key, name)}"
    puts "Successfully saved public key for #{name} to #{@ca.path(:public_key, name)}"
    key
  end

  # What the server says to a name that the client let pass; the keys are on disk by then.
  def server_complaint(name)
    return 'bad URI(is not URI?)' if name.match?(/\s/)
    return 'Invalid relative path (.. or .)' if %w[. ..].include?(name)
    return 'Not Found' if name.include?('*')

    'Subject hostname format is invalid' unless name.match?(/\A[a-z0-9_]([a-z0-9_-]*\.?)*\z/) && !name.include?('..')
  end

  def unreachable(action)
    path = { 'generate' => 'certificate_request', 'list' => 'certificate_statuses' }.fetch(action, 'certificate_status')
    $stderr.puts "Fatal error when running action '#{action}'", "  Error: Failed connecting to #{SERVER}/#{path}/",
                 '  Root cause: Failed to open TCP connection to localhost:8140 ' \
                 '(Connection refused - connect(2) for "localhost" port 8140)'
    1
  end

  def refuse(*lines, usage: false)
    $stderr.puts 'Error:', lines
    $stderr.puts USAGE if usage
    1
  end

  def complain(text)
    $stderr.puts 'Error:', "    #{text}"
    1
  end
end
