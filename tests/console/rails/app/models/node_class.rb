# frozen_string_literal: true

class NodeClass < ActiveRecord::Base
end
