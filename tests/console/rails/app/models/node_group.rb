# frozen_string_literal: true

class NodeGroup < ActiveRecord::Base
end
