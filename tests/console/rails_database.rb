# frozen_string_literal: true

ENV['RAILS_ENV'] ||= 'production'
require 'logger'
require 'rails'
require 'active_record/railtie'
require 'action_controller/railtie'

# The stand-in console's database behind a Rails application and ActiveRecord, as DIR/rails
# (database.yml) names it: what boots, connects and forks is what boots, connects and forks in a real console.
class RailsDatabase
  class Console < Rails::Application
    config.root = "#{__dir__}/rails"
    config.eager_load = false
    config.logger = Logger.new(File::NULL)
    config.secret_key_base = 'none'
  end

  def self.boot(dir)
    Console.config.paths['config/database'] = File.expand_path('rails', dir)
    Console.initialize! unless Console.initialized?
  end

  def self.open(dir)
    boot(dir)
    new
  end

  def execute(sql, binds = [], &block)
    sql = ActiveRecord::Base.sanitize_sql_array([sql, *binds])
    case sql
    when /\A\s*SELECT/ then block ? rows(sql).each(&block) : rows(sql)
    when /\A\s*INSERT/ then @last = connection.insert(sql)
    else connection.update(sql)
    end
  end

  def get_first_row(sql, binds = [])
    execute(sql, binds).first
  end

  def last_insert_row_id
    @last
  end

  def transaction(_mode = nil, &block)
    ActiveRecord::Base.transaction(&block)
  end

  # The tables, in the words of this database.
  def create(schema)
    return if connection.tables.any?

    schema = schema.gsub('PRIMARY KEY', 'PRIMARY KEY AUTO_INCREMENT') unless connection.adapter_name == 'SQLite'
    schema.split(';').map(&:strip).reject(&:empty?).each { |sql| connection.execute(sql) }
  end

  private

  def connection
    ActiveRecord::Base.connection
  end

  def rows(sql)
    connection.select_rows(sql)
  end
end
