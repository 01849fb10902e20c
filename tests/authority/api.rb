# frozen_string_literal: true

require 'json'
require_relative 'served'

# The HTTP API of Puppet's CA: what puppetserver 7.9.5 answers, as exchanges.rb has it of a real one.
# An answer is a status, a type and a text.
class Api
  BASE = '/puppet-ca/v1/'
  TYPE = { text: 'text/plain', refusal: 'text/plain;charset=utf-8', json: '*/*;charset=UTF-8', none: ';charset=UTF-8' }.freeze
  # Method and resource, and the word by which faults know the exchange. A word after the colon is the state that is asked for.
  EXCHANGES = {
    'GET certificate' => 'certificate', 'GET certificate_request' => 'csr', 'PUT certificate_request' => 'request',
    'GET certificate_status' => 'status', 'PUT certificate_status:signed' => 'sign',
    'PUT certificate_status:revoked' => 'revoke', 'PUT certificate_status' => 'malformed',
    'DELETE certificate_status' => 'delete', 'PUT clean' => 'clean', 'GET certificate_revocation_list' => 'crl'
  }.freeze
  # These need no client certificate.
  OPEN = %w[certificate csr request crl].freeze

  Asked = Struct.new(:method, :path, :type, :body, :client)

  def initialize(authority)
    @ca = authority
    @one_at_a_time = Mutex.new
  end

  # The word of an exchange, nil for what the server has not.
  def self.word(asked)
    return unless asked.path.start_with?(BASE)

    resource = "#{asked.method} #{asked.path.delete_prefix(BASE).split('/').first}"
    EXCHANGES["#{resource}:#{state(asked.body)}"] || EXCHANGES[resource]
  end

  # The state that a body asks for.
  def self.state(body)
    asked = JSON.parse(body)
    asked['desired_state'] if asked.is_a?(Hash)
  rescue JSON::ParserError
    nil
  end

  def answer(asked)
    name = asked.path.split('/').last.to_s
    return [400, nil, "Invalid relative path (.. or .) in: #{asked.path}"] if %w[. ..].intersect?(asked.path.split('/'))
    return [200, TYPE[:refusal], 'running'] if asked.path == '/status/v1/simple/ca'
    return [404, 'text/html;charset=iso-8859-1', "<html>\n"] unless asked.path.start_with?(BASE)

    word = Api.word(asked)
    return forbidden(asked) unless word && (OPEN.include?(word) || privileged?(asked.client))

    send("#{word}_of", name, asked)
  end

  private

  def forbidden(asked)
    text = "Forbidden request: #{asked.path} (method :#{asked.method.downcase}). Please see the server logs for details."
    [403, nil, text]
  end

  # As the default auth.conf asks of a client.
  def privileged?(client)
    client&.extensions&.any? { |extension| extension.oid == Authority::PRIVILEGE && OpenSSL::ASN1.decode(extension.value_der).value == 'true' }
  end

  def refuse(status, text)
    [status, TYPE[:refusal], text]
  end

  def certificate_of(name, _)
    return [200, TYPE[:text], File.read(@ca.file('ca/ca_crt.pem'))] if name == 'ca'
    return [404, TYPE[:text], "Could not find certificate #{name}"] unless @ca.has?(:signed, name)

    [200, TYPE[:text], File.read(@ca.path(:signed, name))]
  end

  def csr_of(name, _)
    return [404, TYPE[:text], "Could not find certificate_request #{name}"] unless @ca.has?(:ca_request, name)

    [200, TYPE[:text], File.read(@ca.path(:ca_request, name))]
  end

  def crl_of(_, _)
    [200, TYPE[:text], File.read(@ca.file('ca/ca_crl.pem'))]
  end

  # Who asks is not looked at. A request that the site signs by itself is signed here, outside of what is done one at a time; if it
  # must not be signed, the request waits all the same.
  def request_of(name, asked)
    Faults.point('before_request')
    csr = request_in(asked.body) or return refuse(500, 'Internal Server Error: java.lang.IndexOutOfBoundsException: Index 0 out of ' \
                                                       'bounds for length 0')
    subject = csr.subject.to_a[0][1]
    state = state_of(subject)
    return refuse(400, "#{subject} already has a #{state} certificate; ignoring certificate request") if state
    return refuse(400, "Instance name \"#{subject}\" does not match requested key \"#{name}\"") if subject != name
    return refuse(400, 'Certificate names must be lower case.') if name.match?(/[A-Z]/)

    @ca.write(@ca.path(:ca_request, name), csr.to_pem, 0o644)
    Faults.point('after_request')
    flaw = sign(name, csr) if Faults.on('autosign')
    flaw ? refuse(400, flaw) : [200, TYPE[:text], '']
  end

  def request_in(text)
    OpenSSL::X509::Request.new(text)
  rescue OpenSSL::X509::RequestError
    nil
  end

  def state_of(name)
    return @ca.revoked?(@ca.signed(name).serial) ? 'revoked' : 'signed' if @ca.has?(:signed, name)

    'requested' if @ca.has?(:ca_request, name)
  end

  def malformed_of(name, asked)
    return refuse(415, 'Unsupported media type.') unless typed?(asked)

    body = JSON.parse(asked.body)
    state = body['desired_state'] if body.is_a?(Hash)
    return refuse(400, 'Missing required parameter "desired_state"') unless state

    refuse(400, "State #{state} invalid; Must specify desired state of 'signed' or 'revoked' for host #{name}.")
  rescue JSON::ParserError
    refuse(400, 'Request body is not JSON.')
  end

  def typed?(asked)
    %w[application/json text/pson pson].include?(asked.type.to_s.split(';').first)
  end

  # Up to 8.0 signing and revoking are done one at a time.
  def sign_of(name, asked)
    change(name, asked) do
      Faults.point('before_sign')
      unless @ca.has?(:ca_request, name)
        next refuse(409, "Cannot sign certificate for host #{name} without a certificate request")
      end

      flaw = sign(name, @ca.request_of(name))
      flaw ? refuse(409, flaw) : [204, TYPE[:text], '']
    end
  end

  def revoke_of(name, asked)
    change(name, asked) do
      Faults.point('before_revoke')
      unless @ca.has?(:signed, name)
        next refuse(409, "Cannot revoke certificate for host #{name} without a signed certificate")
      end

      revoked_serials(name).each { |serial| @ca.revoke(serial) unless @ca.revoked?(serial) }
      Faults.point('after_revoke')
      [204, TYPE[:text], '']
    end
  end

  def change(name, asked, &act)
    return refuse(415, 'Unsupported media type.') unless typed?(asked)

    one_at_a_time(asked) { state_of(name) ? act.call : refuse(404, 'Invalid certificate subject.') }
  end

  # From 8.1 on only revoking is.
  def one_at_a_time(asked, &act)
    return act.call if Api.state(asked.body) == 'signed' && since?('8.1')

    @one_at_a_time.synchronize(&act)
  end

  # From 8.2.2 on it revokes every certificate of a name that has not expired.
  def revoked_serials(name)
    since?('8.2.2') ? @ca.unexpired(name) : [@ca.signed(name).serial.to_i]
  end

  # Which server it is; a test may change it while it runs.
  def since?(release)
    flavour = File.exist?(@ca.file('flavour')) ? File.read(@ca.file('flavour')).strip : '7.9'
    Gem::Version.new(flavour) >= Gem::Version.new(release)
  end

  # The text of a refusal, else nil, and the request is signed. After a refusal it waits as before.
  def sign(name, csr)
    flaw = flaw_of(name, csr)
    return flaw if flaw

    key = Faults.on('mismatch') ? @ca.new_key : csr
    @ca.sign(name, key.public_key, alt_name: true, facts: facts_of(csr))
    FileUtils.rm_f(@ca.path(:ca_request, name))
    nil
  end

  AUTHORIZATION = /\A1\.3\.6\.1\.4\.1\.34380\.1\.3\./
  TRUSTED = /\A1\.3\.6\.1\.4\.1\.34380\.1\.[12]\./

  def flaw_of(name, csr)
    return 'CSR contains a public key that does not correspond to the signing key' unless csr.verify(csr.public_key)

    extensions = extensions_of(csr)
    others = names_in(extensions) - ["DNS:#{name}"]
    oids = extensions.map(&:oid) - %w[subjectAltName subjectKeyIdentifier keyUsage extendedKeyUsage basicConstraints]
    if (flaw = Faults.on('disallow'))
      flaw
    elsif oids.grep(AUTHORIZATION).any?
      disallowed(name, 'an authorization extension, which is', 'authorization extensions', 'allow-authorization-extensions')
    elsif others.any?
      disallowed(name, "extra subject alternative names (#{others.join(', ')}), which are", 'subject alternative names',
                 'allow-subject-alt-names')
    elsif oids.grep_v(TRUSTED).any?
      "Found extensions that are not permitted: #{oids.grep_v(TRUSTED).join(', ')}"
    end
  end

  def disallowed(name, what, kind, setting)
    "CSR '#{name}' contains #{what} disallowed. To allow #{kind}, set #{setting} to true in your ca.conf file. " \
      'Then restart the puppetserver and try signing this certificate again.'
  end

  def extensions_of(csr)
    asked = csr.attributes.find { |attribute| %w[extReq msExtReq].include?(attribute.oid) }
    return [] unless asked

    asked.value.value.first.value.map { |extension| OpenSSL::X509::Extension.new(extension.to_der) }
  end

  # The alternative names, as the server prints them.
  def names_in(extensions)
    found = extensions.find { |extension| extension.oid == 'subjectAltName' }
    found ? found.value.split(', ').map { |name| name.sub('IP Address:', 'IP:') } : []
  end

  def facts_of(csr)
    trusted = extensions_of(csr).select { |extension| extension.oid.match?(TRUSTED) }
    trusted.to_h { |extension| [extension.oid, OpenSSL::ASN1.decode(extension.value_der).value] }
  end

  def status_of(name, _)
    state = state_of(name)
    return [404, TYPE[:none], 'Resource not found.'] unless state

    [200, TYPE[:json], JSON.generate(state == 'requested' ? request_status(name) : certificate_status(name, state))]
  end

  def request_status(name)
    csr = @ca.request_of(name)
    names = names_in(extensions_of(csr))
    described(name, 'requested', names, csr)
  end

  def certificate_status(name, state)
    cert = @ca.signed(name)
    times = { not_before: cert.not_before, not_after: cert.not_after }
    described(name, state, names_in(cert.extensions), cert)
      .merge(times.transform_values { |time| time.utc.strftime('%Y-%m-%dT%H:%M:%SUTC') }, serial_number: cert.serial.to_i)
  end

  def described(name, state, names, thing)
    prints = %w[SHA1 SHA256 SHA512].to_h { |digest| [digest, OpenSSL::Digest.hexdigest(digest, thing.to_der).upcase.scan(/../).join(':')] }
    { name: name, state: state, dns_alt_names: names.grep(/\ADNS:/), subject_alt_names: names, authorization_extensions: {},
      fingerprint: prints['SHA256'], fingerprints: prints.merge('default' => prints['SHA256']) }
  end

  # Revokes nothing.
  def delete_of(name, _)
    return [404, TYPE[:none], 'Resource not found.'] unless state_of(name)

    %i[signed ca_request].each { |kind| FileUtils.rm_f(@ca.path(kind, name)) }
    [204, TYPE[:none], '']
  end

  # Takes no lock: what is revoked meanwhile is lost. espm must never ask for it.
  def clean_of(_, asked)
    names, unknown = JSON.parse(asked.body)['certnames'].partition { |name| @ca.has?(:signed, name) }
    names.each do |name|
      @ca.revoke(@ca.signed(name).serial.to_i) { sleep 0.05 }
      FileUtils.rm_f(@ca.path(:signed, name))
    end
    said = "The following certs do not exist and cannot be revoked: #{unknown.to_json}"
    [200, TYPE[:text], unknown.any? ? said : 'Successfully cleaned all certs.']
  end
end
