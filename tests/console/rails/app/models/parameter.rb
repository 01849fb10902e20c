# frozen_string_literal: true

class Parameter < ActiveRecord::Base
end
