# frozen_string_literal: true

class Node < ActiveRecord::Base
end
