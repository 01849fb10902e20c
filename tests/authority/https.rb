# frozen_string_literal: true

require 'openssl'
require 'socket'
require 'time'
require 'timeout'
require_relative 'api'

# The server's side of HTTPS: a thread a connection, kept alive as the real one does, and what can happen to it on the wire.
class Https
  IDLE = 30 # seconds until the real server closes a connection without a request
  REASONS = { 200 => 'OK', 204 => 'No Content', 400 => 'Bad Request', 403 => 'Forbidden', 404 => 'Not Found', 409 => 'Conflict',
              415 => 'Unsupported Media Type', 500 => 'Server Error', 503 => 'Service Unavailable' }.freeze
  # The client is gone, or does not speak.
  GONE = [EOFError, SystemCallError, OpenSSL::SSL::SSLError, IOError].freeze

  def initialize(authority, api, port)
    @ca = authority
    @api = api
    @listener = TCPServer.new('127.0.0.1', port)
    @connections = 0
  end

  def run
    loop do
      socket = @listener.accept
      number = @connections += 1
      Thread.new { serve(socket, number) }
    end
  end

  private

  def serve(socket, number)
    sleep if Faults.on('mute')
    tls = OpenSSL::SSL::SSLSocket.new(socket, context).accept
    tls.sync_close = true
    wait = IDLE
    wait = (Faults.on('idle') || IDLE).to_f while exchange(tls, number, wait)
    tls.close
  rescue *GONE
    socket.close
  end

  def context
    (own, *chain), key = @ca.identity
    OpenSSL::SSL::SSLContext.new.tap do |context|
      context.security_level = 0 # Java takes a CA's key of 1024 bits
      context.add_certificate(own, key, chain)
      context.cert_store = @ca.trusted
      context.client_ca = OpenSSL::X509::Certificate.load(File.read(@ca.file('ca/ca_crt.pem')))
      # Nor does the real server mind a list that has ended.
      context.verify_callback = ->(fine, store) { fine || store.error == OpenSSL::X509::V_ERR_CRL_HAS_EXPIRED }
      context.verify_mode = OpenSSL::SSL::VERIFY_PEER # without one is admitted, as by client-auth: want
      context.max_version = OpenSSL::SSL::TLS1_2_VERSION if Faults.on('tls12')
    end
  end

  # One request and its answer; false if the connection is not used any more.
  def exchange(tls, number, wait)
    asked = request(tls, wait) or return false
    word = Api.word(asked).to_s
    Faults.log(argv: ['api', asked.method, asked.path, Api.state(asked.body).to_s, number.to_s])
    File.write(@ca.file('asked'), "#{asked.body}\n", mode: 'a')
    instead = instead_of(word, asked, tls)
    return instead unless instead.nil?

    answered(tls, word, *@api.answer(asked))
  end

  # What a fault does in place of the exchange, nil without one.
  def instead_of(word, asked, tls)
    given = Faults.on("answer_#{word}")
    return replied(tls, given) if given
    return cut(tls) if Faults.on("cut_before_#{word}")
    return hang(tls) if Faults.on("hang_before_#{word}")
    return garbage(tls) if Faults.on("garbage_#{word}")
    return flood(tls) if Faults.on("flood_#{word}")
    return unless Faults.on("late_#{word}")

    cut(tls)
    Faults.wait("late_#{word}")
    @api.answer(asked)
    false
  end

  # The answer of an act that is done.
  def answered(tls, word, status, type, text)
    return cut(tls) if Faults.on("cut_after_#{word}")
    return hang(tls) if Faults.on("hang_after_#{word}")

    bytes = head(status, type, text) + body(text)
    if Faults.on("half_#{word}")
      tls.write(bytes[0, 20])
      return cut(tls)
    end
    tls.write(bytes)
    Faults.log(end: true, status: status)
    true
  end

  def replied(tls, given)
    status, text = given.split(' ', 2)
    moved = "Location: #{text}\r\n" if status.start_with?('3')
    tls.write(head(status.to_i, 'text/plain;charset=utf-8', text.to_s, moved.to_s) + body(text.to_s))
    true
  end

  # Without a word of TLS.
  def cut(tls)
    tls.to_io.close
    false
  end

  # Until the client goes.
  def hang(tls)
    tls.to_io.wait_readable
    cut(tls)
  end

  def garbage(tls)
    tls.write(Faults::GARBAGE)
    cut(tls)
  end

  def flood(tls)
    tls.write("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    loop { tls.write("10000\r\n#{'x' * 65_536}\r\n") }
  end

  # As Jetty writes it: without a text the length, else chunks.
  def head(status, type, text, more = '')
    framing = if status == 204 then ''
              elsif text.empty? then "Content-Length: 0\r\n"
              else "Transfer-Encoding: chunked\r\n"
              end
    "HTTP/1.1 #{status} #{REASONS[status] || 'Something'}\r\nDate: #{Time.now.httpdate}\r\n" \
      "#{"Content-Type: #{type}\r\n" if type}X-Puppet-Version: 7.23.0\r\n#{more}#{framing}\r\n"
  end

  def body(text)
    text.empty? ? '' : "#{text.bytesize.to_s(16)}\r\n#{text}\r\n0\r\n\r\n"
  end

  # Nil at the end of the connection, and of one that says nothing for so many seconds.
  def request(tls, wait)
    line = tls.gets("\r\n") if tls.pending.positive? || tls.to_io.wait_readable(wait)
    method, path, = (line or return).split
    headers = {}
    until (header = tls.gets("\r\n").to_s.chomp).empty?
      name, value = header.split(':', 2)
      headers[name.downcase] = value.strip
    end
    Api::Asked.new(method, path, headers['content-type'], content(tls, headers), tls.peer_cert)
  end

  def content(tls, headers)
    return tls.read(headers['content-length'].to_i).to_s unless headers['transfer-encoding']

    text = +''
    while (size = tls.gets("\r\n").to_s.hex).positive?
      text << tls.read(size)
      tls.gets("\r\n")
    end
    tls.gets("\r\n")
    text
  end
end
