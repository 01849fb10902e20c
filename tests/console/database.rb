# frozen_string_literal: true

require 'fileutils'

# The stand-in console's database, DIR/console.sqlite3, or with a file DIR/rails the one that this
# names to ActiveRecord. Made when absent.
module Database
  SCHEMA = <<~SQL
    CREATE TABLE IF NOT EXISTS nodes (id INTEGER PRIMARY KEY, name VARCHAR(255) NOT NULL);
    CREATE UNIQUE INDEX IF NOT EXISTS uc_node_name ON nodes (name);
    CREATE TABLE IF NOT EXISTS node_classes (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS node_groups (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS node_class_memberships (node_id INTEGER NOT NULL, member_id INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS node_group_memberships (node_id INTEGER NOT NULL, member_id INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS parameters (id INTEGER PRIMARY KEY, node_id INTEGER NOT NULL, `key` TEXT, value TEXT);
  SQL

  # Tests kill processes, not the machine: nothing has to reach the disk.
  def self.open(dir)
    FileUtils.mkdir_p(dir)
    rails?(dir) ? open_rails(dir) : open_sqlite(dir)
  end

  def self.rails?(dir)
    File.exist?(File.join(dir, 'rails'))
  end

  def self.open_rails(dir)
    require_relative 'rails_database'
    RailsDatabase.open(dir).tap { |db| db.create(SCHEMA) }
  end

  def self.open_sqlite(dir)
    require 'sqlite3'
    db = SQLite3::Database.new(File.join(dir, 'console.sqlite3'))
    db.busy_timeout(30_000)
    db.execute('PRAGMA synchronous = OFF')
    db.execute_batch(SCHEMA) if db.get_first_value('SELECT count(*) FROM sqlite_master').zero?
    db
  end

  # The names of a node's classes or groups ("class", "group").
  def self.members(db, kind, node)
    db.execute(<<~SQL, [node]).flatten
      SELECT name FROM node_#{kind == 'class' ? 'classes' : 'groups'} AS known
      JOIN node_#{kind}_memberships ON member_id = known.id WHERE node_id = ? ORDER BY name
    SQL
  end
end
