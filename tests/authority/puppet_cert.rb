# frozen_string_literal: true

require_relative 'authority'

# `puppet cert`: works on the CA's files itself. 2.7 prints everything on stdout; 2.7.12 ends with 0 whatever happened.
class PuppetCert
  COLOURS = { notice: ['0;36', ''], err: ['1;35', '1;31'], warning: ['0;33', '1;33'], crit: ['1;36', '1;31'] }.freeze
  WORDS = { notice: 'Notice', err: 'Error', warning: 'Warning', crit: 'Critical' }.freeze
  Failure = Class.new(StandardError)

  # Where a version looks below its user's home for what it is not told; as root it does not.
  DIRECTORIES = { 3 => %w[confdir vardir], 4 => %w[confdir vardir codedir logdir rundir] }.freeze

  def initialize(authority, flavour)
    @ca = authority
    @flavour = flavour
    @directories = Process.euid.zero? ? [] : DIRECTORIES.fetch([flavour.to_i, 4].min, [])
    @old = flavour.start_with?('2.7')
  end

  def run(words)
    return home_refused if (@directories - directories_of(words)).any?

    options, @names = words.partition { |word| word.start_with?('-') }
    @plain = options.delete('--color=false')
    @all = options.delete('--all')
    # From 3.4 on; before, there were no trusted facts.
    unless @old
      given = options.find { |option| option.start_with?('--csr_attributes=') }
      options.delete(given)
      @facts = given ? given.split('=', 2).last : @ca.file('csr_attributes.yaml')
    end
    unless @old
      say(:warning, "`puppet cert` is deprecated and will be removed in a future release.\n   (location: " \
                    "/usr/lib/ruby/vendor_ruby/puppet/application.rb:370:in `run')")
    end
    return options_refused(options) if options.any?

    @names.map!(&:downcase)
    begin_authority unless @ca.exist?
    apply(@names.shift.to_s)
  end

  private

  # Takes the options that name a directory, and tells which.
  def directories_of(words)
    DIRECTORIES.values.flatten.uniq.select do |name|
      at = words.index("--#{name}")
      words.slice!(at, 2) if at
    end
  end

  def home_refused
    say(:err, 'Could not initialize global default settings: Permission denied @ dir_s_mkdir - /.puppet')
    1
  end

  def options_refused(options)
    return puts('puppet-cert(8) -- Manage certificates and requests', '', 'USAGE', '-----') || 0 if options.none?(/\A--/)

    option = options.grep(/\A--/).first[/\A[^=]+/]
    @old ? $stderr.puts("invalid option: #{option}", "Try 'puppet help cert' for usage") : say(:err, "Could not parse application options: invalid option: #{option}")
    1
  end

  def begin_authority
    @ca.setup
    say(:notice, 'Signed certificate request for ca')
  end

  def apply(action)
    return quit("Invalid method #{action} to apply") unless %w[generate revoke clean list].include?(action)
    return quit("You must provide hosts or --all when using #{action}") if @names.empty? && action != 'list'

    action == 'list' ? list : @names.each { |name| send("#{action}_certificate", name) }
    0
  rescue Failure => e
    failed(action, e.message)
  end

  # 2.7.12 swallows every error of an action, 2.7.26 prints it twice.
  def failed(action, message)
    return quit(message) unless @old

    say(:err, "Could not call #{action}: #{message}")
    @flavour == '2.7.12' ? 0 : quit(message)
  end

  def quit(message)
    @old ? puts(message) : say(:err, message)
    24
  end

  def say(level, text)
    text = @old ? "#{level}: #{text}" : "#{WORDS[level]}: #{text}"
    text = "\e[#{COLOURS[level][@old ? 0 : 1]}m#{text}\e[0m" unless @plain
    (@old || level == :notice ? $stdout : $stderr).puts text
  end

  def generate_certificate(name)
    raise Failure, "A Certificate already exists for #{name}" if name == 'ca' || @ca.has?(:signed, name)

    check(name)
    key = requested_key(name)
    raise Failure, "#{name} already has a signed certificate; ignoring certificate request" if @ca.has?(:signed, name)
    raise Failure, "#{name} already has a requested certificate; ignoring certificate request" if @ca.has?(:ca_request, name)

    request(name, key)
    say(:notice, "#{name} has a waiting certificate request")
    raise Failure, "CSR subject contains a wildcard, which is not allowed: /CN=#{name}" if name.include?('*')
    raise Failure, 'No space left on device - signed' if Faults.on('fail_after_key')

    # As the real one: it says so before it saves what it signed.
    facts = @old ? {} : @ca.facts_in(@facts)
    cert = @ca.sign(name, key.public_key, facts: facts, bare: @flavour.to_i < 4) { say(:notice, "Signed certificate request for #{name}") }
    remove('CertificateRequest', name, :ca_request, :request)
    @ca.publish(name, cert)
    Faults.point('after_generate')
  end

  def revoke_certificate(name)
    Faults.point('before_revoke')
    serials_of(name).each do |serial|
      @ca.revoke(serial)
      say(:notice, "Revoked certificate with serial #{serial}")
    end
    Faults.point('after_revoke')
  end

  def clean_certificate(name)
    begin
      revoke_certificate(name)
    rescue Failure => e
      raise unless @flavour == '2.7.12'

      say(:err, "Could not call revoke: #{e.message}")
    end
    remove('Certificate', name, :signed, :certificate)
    remove('Key', name, :private_key)
    remove('CertificateRequest', name, :ca_request, :request)
    FileUtils.rm_f(@ca.path(:public_key, name))
  end

  def check(name)
    if name.start_with?('..') || name.match?(%r{[/\\]})
      say(:crit, "directory traversal detected in Puppet::SSL::Key::File: #{name.inspect}") unless @old
      raise Failure, 'invalid key'
    end
    return if name.b.match?(/\A[ -.0-~]+\Z/n) || @flavour == '2.7.12'

    raise Failure, "Certname #{name.inspect} must not contain unprintable or non-ASCII characters"
  end

  # A key that is there already is used again.
  def requested_key(name)
    return OpenSSL::PKey::RSA.new(File.read(@ca.path(:private_key, name))) if @ca.has?(:private_key, name)

    @ca.new_key.tap { |key| @ca.save_keys(name, key) }
  end

  def request(name, key)
    csr = @ca.request(name, key)
    %i[ca_request request].each { |kind| @ca.write(@ca.path(kind, name), csr.to_pem, 0o644) }
  end

  # A name without a certificate is a serial number, or is looked for in the inventory, as a regular expression.
  def serials_of(name)
    serials = if @ca.has?(:signed, name) then [@ca.signed(name).serial.to_i]
              elsif name.match?(/\A0x\h+\z/) && @flavour != '2.7.12' then [name.hex]
              else @ca.serials_like(name)
              end
    raise Failure, "Could not find a serial number for #{name}" if serials.empty?

    @old ? serials.first(1) : serials
  end

  def remove(thing, name, *kinds)
    kinds.select { |kind| @ca.has?(kind, name) }.each do |kind|
      say(:notice, "Removing file Puppet::SSL::#{thing} #{name} at '#{@ca.path(kind, name)}'")
      FileUtils.rm_f(@ca.path(kind, name))
    end
  end

  def list
    known, waiting = %i[signed ca_request].map { |kind| Dir[@ca.path(kind, '*')].map { |path| File.basename(path, '.pem') } }
    names = @names.any? ? @names : (@all ? known : []) + waiting
    names.sort.each do |name|
      raise Failure, "Could not find a certificate for #{name}" unless (known + waiting).include?(name)

      puts line(name, names.map(&:size).max, known.include?(name))
    end
  end

  def line(name, width, signed)
    content = signed ? @ca.signed(name) : OpenSSL::X509::Request.new(File.read(@ca.path(:ca_request, name)))
    digest = (@old ? OpenSSL::Digest::MD5 : OpenSSL::Digest::SHA256).hexdigest(content.to_der).upcase.scan(/../).join(':')
    revoked = signed && @ca.revoked?(content.serial)
    shown = @flavour == '2.7.12' ? name.ljust(width) : name.inspect.ljust(width + 2)
    "#{signed ? (revoked ? '-' : '+') : ' '} #{shown} #{'(SHA256) ' unless @old}#{@old ? "(#{digest})" : digest}" \
      "#{' (certificate revoked)' if revoked}"
  end
end
