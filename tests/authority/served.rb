# frozen_string_literal: true

require_relative 'authority'

# The authority as the server's own process has it.
class ServedAuthority < Authority
  # Each file is written beside and renamed; nothing is synced.
  def write(path, text, mode)
    beside = "#{path}#{Random.rand(1 << 64)}tmp"
    super(beside, text, mode)
    File.rename(beside, path)
  end

  # The certificates and the key that the server shows. The fault served_by has it be another.
  def identity
    other = Faults.on('served_by')
    return impostor(other) if other

    chain = File.read(path(:certificate, MASTER)) + File.read(file('ca/ca_crt.pem'))
    [OpenSSL::X509::Certificate.load(chain), OpenSSL::PKey.read(File.read(path(:private_key, MASTER)))]
  end

  # What a client's certificate is judged by.
  def trusted
    store = OpenSSL::X509::Store.new
    OpenSSL::X509::Certificate.load(File.read(file('ca/ca_crt.pem'))).each { |cert| store.add_cert(cert) }
    File.binread(file('ca/ca_crl.pem')).scan(CRL) { |list| store.add_crl(OpenSSL::X509::CRL.new(list)) }
    store.flags = OpenSSL::X509::V_FLAG_CRL_CHECK
    store
  end

  private

  # Read each time, as the real server does: the CA may have been made anew.
  def issuer
    @issuer = nil
    super
  end

  # A server that must not be believed, or cannot be.
  def impostor(kind)
    key = new_key
    parent = kind == 'other_ca' ? authority("Puppet CA: #{MASTER}", 2) : issuer
    name = kind == 'other_name' ? 'other.example.com' : MASTER
    cert = certificate(name, key.public_key, Random.rand(1 << 64), parent, kind == 'expired' ? -0.5 : 365)
    extend_cert(cert, parent[0], kind == 'no_san' ? nil : ['subjectAltName', "DNS:#{name}", false])
    [[cert.sign(parent[1], 'SHA256'), parent[0]], key]
  end
end
