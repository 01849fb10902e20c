# frozen_string_literal: true

require 'fileutils'
require 'openssl'
require 'yaml'
require_relative '../doubles/faults'

# A certificate authority in a directory, laid out like Puppet's, with real cryptography.
# As in the real one only the serial file is locked: two changes of the CRL at once can lose one.
class Authority
  MASTER = 'master.example.com'
  KEY_BITS = 2048 # Puppet's own 4096 take seconds to make, and no test looks at the length
  DAY = 86_400
  PLACES = {
    private_key: 'ssl/private_keys', public_key: 'ssl/public_keys', certificate: 'ssl/certs',
    request: 'ssl/certificate_requests', signed: 'ca/signed', ca_request: 'ca/requests'
  }.freeze
  PUPPET = '1.3.6.1.4.1.34380'
  PRIVILEGE = "#{PUPPET}.1.3.39" # pp_cli_auth
  CRL = /-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n/m

  def initialize(root)
    @root = File.expand_path(root)
  end

  def exist?
    File.file?(file('ca/ca_crt.pem'))
  end

  def file(name)
    File.join(@root, name)
  end

  def path(kind, name)
    file("#{PLACES.fetch(kind)}/#{name}.pem")
  end

  def has?(kind, name)
    File.file?(path(kind, name))
  end

  def setup(intermediate: false)
    PLACES.each_value { |place| FileUtils.mkdir_p(file(place), mode: 0o750) }
    top = authority(intermediate ? 'Puppet Root CA' : "Puppet CA: #{MASTER}", 1)
    own = intermediate ? authority("Puppet CA: #{MASTER}", 2, top) : top
    chain = [own, top].uniq
    mode = intermediate ? 0o640 : 0o644
    write(file('ca/root_key.pem'), top[1].to_pem, 0o640) if intermediate
    write(file('ca/ca_key.pem'), own[1].to_pem, 0o640)
    %w[ca/ca_crt.pem ssl/certs/ca.pem].each { |name| write(file(name), chain.map { |cert, _| cert.to_pem }.join, mode) }
    write(file('ca/ca_crl.pem'), chain.map { |pair| new_crl(*pair).to_pem }.join, mode)
    FileUtils.cp(file('ca/ca_crl.pem'), file('ssl/crl.pem'))
    write(file('ca/inventory.txt'), '', mode)
    write(file('ca/serial'), format('%04X', chain.size + 1), mode)
  end

  # The master's own key and certificate. `puppetserver ca setup` names the master beside the common name and lets it
  # use the CA; it wrote no line of it into the inventory for long.
  def make_master(name = MASTER, served:)
    key = new_key
    save_keys(name, key)
    publish(name, sign(name, key.public_key, alt_name: served, facts: served ? { PRIVILEGE => 'true' } : {}))
    write(file('ca/inventory.txt'), '', 0o640) if served
  end

  def new_key
    OpenSSL::PKey::RSA.new(KEY_BITS)
  end

  def save_keys(name, key, public_mode: 0o644)
    kept = Faults.on('mismatch') ? new_key : key
    write(path(:private_key, name), kept.to_pem, 0o640)
    write(path(:public_key, name), key.public_key.to_pem, public_mode)
    Faults.point('after_key')
  end

  # The CA's copy; the node's own is written by publish. The block runs between signing and saving.
  # A certificate that ends soon, or begins later, is a fault as well: its text says in how many seconds.
  def sign(name, public_key, alt_name: false, facts: {}, bare: false, starts_in: Faults.on('starts_in'))
    cert = certificate(Faults.on('wrong_cn') ? 'wrong.example.com' : name, public_key, next_serial, issuer, 5 * 365)
    seconds = Faults.on('ends_in') and cert.not_after = Time.now + seconds.to_i
    cert.not_before = Time.now + starts_in.to_i if starts_in
    # The real server, which is Java, writes the issuer as UTF8String whatever it is in the CA's certificate.
    cert.issuer = OpenSSL::X509::Name.new([['CN', issuer[0].subject.to_a[0][1]]]) if alt_name
    extend_cert(cert, issuer[0], alternative(name, alt_name))
    add_facts(cert, facts, bare)
    cert.sign(Faults.on('foreign_ca') ? new_key : issuer[1], 'SHA256')
    yield if block_given?
    File.open(file('ca/inventory.txt'), 'a') do |inventory|
      times = [cert.not_before, cert.not_after].map { |time| time.utc.strftime('%Y-%m-%dT%H:%M:%SUTC') }
      inventory.write(format("0x%04x %s /CN=%s\n", cert.serial, times.join(' '), name))
    end
    write(path(:signed, name), cert.to_pem, 0o644)
    File.write(file('saved'), "#{cert.serial.to_s(16)}\n", mode: 'a')
    Faults.point('after_sign')
    cert
  end

  # An agent renews its certificate: the same key, the next serial number. The CA keeps no copy of the old one.
  # After a restore the agent has a certificate that the CA knows nothing of.
  def renew(name, starts_in = nil)
    own = has?(:signed, name) ? signed(name) : OpenSSL::X509::Certificate.new(File.read(path(:certificate, name)))
    sign(name, own.public_key, alt_name: true, facts: facts_of(own), starts_in: starts_in)
  end

  # The trusted facts of a certificate, which its renewal has, too.
  def facts_of(cert)
    own = cert.extensions.select { |extension| extension.oid.start_with?(PUPPET) }
    own.to_h { |extension| [extension.oid, OpenSSL::ASN1.decode(extension.value_der).value] } # those that renew are new enough
  end

  # An agent with a key of its own asks for a certificate.
  def ask(name)
    key = new_key
    write(path(:ca_request, name), request(name, key).to_pem, 0o644)
    key
  end

  # What a human signs although the name has a certificate (allow_duplicate_certs).
  def duplicate(name)
    key = ask(name)
    sign(name, key.public_key)
    FileUtils.rm_f(path(:ca_request, name))
  end

  # Begun anew under the same name, or as an old copy of it was: in both cases serial numbers are used again.
  def anew(intermediate:)
    %w[ca ssl].each { |part| FileUtils.rm_rf(file(part)) }
    @issuer = nil
    setup(intermediate: intermediate)
    make_master(served: intermediate)
  end

  def request(name, key)
    csr = OpenSSL::X509::Request.new
    csr.version = 0
    csr.subject = OpenSSL::X509::Name.new([['CN', name]])
    csr.public_key = key.public_key
    csr.sign(key, 'SHA256')
  end

  def publish(name, cert, mode: 0o644)
    Faults.point('before_publish')
    write(path(:certificate, name), cert.to_pem, mode)
  end

  def request_of(name)
    OpenSSL::X509::Request.new(File.read(path(:ca_request, name)))
  end

  def signed(name)
    OpenSSL::X509::Certificate.new(File.read(path(:signed, name)))
  end

  def serials_like(name)
    File.readlines(file('ca/inventory.txt'), chomp: true, mode: 'rb').filter_map { |line| line[/^(\S+).+\/CN=#{name}$/, 1]&.hex }
  end

  # The serials of a name's certificates that have not expired.
  def unexpired(name)
    lines = File.readlines(file('ca/inventory.txt'), chomp: true, mode: 'rb').map(&:split)
    now = Time.now.utc.strftime('%Y-%m-%dT%H:%M:%SUTC')
    lines.filter_map { |serial, _, until_, subject| serial.hex if subject == "/CN=#{name}" && until_ > now }
  end

  def revoked?(serial)
    own_crl.revoked.any? { |entry| entry.serial == serial }
  end

  # The block runs between reading and writing the list.
  def revoke(serial)
    crl = own_crl
    entry = OpenSSL::X509::Revoked.new
    entry.serial = serial
    entry.time = Time.now
    entry.add_extension(OpenSSL::X509::Extension.new('CRLReason', OpenSSL::ASN1::Enumerated(1))) # key compromise
    crl.add_revoked(entry)
    number = crl.extensions.find { |extension| extension.oid == 'crlNumber' }.value.to_i + 1
    others = File.binread(file('ca/ca_crl.pem')).scan(CRL).drop(1)
    yield if block_given?
    if Faults.on('cut_crl') # killed while it writes
      write(file('ca/ca_crl.pem'), '', 0o644)
      Process.kill(:KILL, Process.pid)
    end
    unless Faults.on('no_crl')
      write(file('ca/ca_crl.pem'), ([finish_crl(crl, *issuer, number).to_pem] + others).join, 0o644)
      FileUtils.cp(file('ca/ca_crl.pem'), file('ssl/crl.pem'))
    end
    Faults.point('after_crl')
  end

  # The extensions that a csr_attributes.yaml has put into each request; a missing file is no error.
  def facts_in(path)
    return {} unless File.file?(path)

    (YAML.safe_load(File.read(path)) || {}).fetch('extension_requests', {})
  end

  # A mode as given, whatever the umask.
  def write(path, text, mode)
    File.open(path, 'w', mode) do |file|
      file.chmod(mode)
      file.write(text)
    end
  end

  private

  def issuer
    @issuer ||= [OpenSSL::X509::Certificate.new(File.read(file('ca/ca_crt.pem'))),
                 OpenSSL::PKey::RSA.new(File.read(file('ca/ca_key.pem')))]
  end

  def next_serial
    File.open(file('ca/serial'), 'r+') do |file|
      file.flock(File::LOCK_EX)
      serial = file.read.hex
      file.rewind
      file.write(format('%04X', serial + 1))
      serial
    end
  end

  def authority(common_name, serial, parent = nil)
    key = new_key
    cert = certificate(common_name, key.public_key, serial, parent, 15 * 365)
    factory = extensions(cert, parent ? parent[0] : cert)
    cert.add_extension(factory.create_extension('basicConstraints', 'CA:TRUE', true))
    cert.add_extension(factory.create_extension('keyUsage', 'keyCertSign, cRLSign', true))
    cert.add_extension(factory.create_extension('subjectKeyIdentifier', 'hash'))
    cert.add_extension(factory.create_extension('authorityKeyIdentifier', 'keyid')) if parent
    [cert.sign(parent ? parent[1] : key, 'SHA256'), key]
  end

  def certificate(common_name, public_key, serial, parent, days)
    cert = OpenSSL::X509::Certificate.new
    cert.version = 2
    cert.serial = serial
    cert.subject = OpenSSL::X509::Name.new([['CN', common_name]])
    cert.issuer = parent ? parent[0].subject : cert.subject
    cert.public_key = public_key
    cert.not_before = Time.now - DAY
    cert.not_after = Time.now + days * DAY
    cert
  end

  # The names beside the common name; with the fault, others too.
  def alternative(name, own)
    names = [("DNS:#{name}" if own), Faults.on('other_names')].compact
    ['subjectAltName', names.join(','), false] if names.any?
  end

  def extend_cert(cert, parent, extra)
    [['basicConstraints', Faults.on('may_sign') ? 'CA:TRUE' : 'CA:FALSE', true], ['keyUsage', 'digitalSignature, keyEncipherment', true],
     ['extendedKeyUsage', 'serverAuth, clientAuth', true], ['subjectKeyIdentifier', 'hash', false],
     ['authorityKeyIdentifier', 'keyid', false], extra].compact.each do |extension|
      cert.add_extension(extensions(cert, parent).create_extension(*extension))
    end
  end

  ARCS = { 'pp_role' => "#{PUPPET}.1.1.13", 'pp_auth_role' => "#{PUPPET}.1.3.13" }.freeze

  # Trusted facts: from the csr_attributes.yaml that the command reads. Puppet before 4 wrote the bare text.
  def add_facts(cert, facts, bare)
    facts = facts.drop(1) if Faults.on('drop_fact')
    facts.each do |name, value|
      value = "#{value}#{Faults.on('change_fact')}"
      der = bare ? value : OpenSSL::ASN1::UTF8String(value).to_der
      cert.add_extension(OpenSSL::X509::Extension.new(ARCS.fetch(name, name), der, false))
    end
  end

  def extensions(cert, parent)
    OpenSSL::X509::ExtensionFactory.new(parent, cert)
  end

  def own_crl
    OpenSSL::X509::CRL.new(File.binread(file('ca/ca_crl.pem'))[CRL])
  end

  def new_crl(cert, key)
    crl = OpenSSL::X509::CRL.new
    crl.version = 1
    crl.issuer = cert.subject
    finish_crl(crl, cert, key, 0)
  end

  def finish_crl(crl, cert, key, number)
    crl.last_update = Time.now - 1
    crl.next_update = Time.now + 5 * 365 * DAY
    crl.extensions = [OpenSSL::X509::ExtensionFactory.new(cert).create_extension('authorityKeyIdentifier', 'keyid'),
                      OpenSSL::X509::Extension.new('crlNumber', OpenSSL::ASN1::Integer(number))]
    crl.sign(key, 'SHA256')
  end
end
