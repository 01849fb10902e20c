# Prints the classes of every environment with their parameters, as JSON. Puppet's own Ruby runs it as Puppet's user:
# espm-setup catalogue. Manifests are parsed as the Puppet server's environment_classes does, and none is evaluated.
require 'json'
require 'tmpdir'
require 'puppet'
require 'puppet/info_service'

confdir, codedir, vardir = ARGV
# Puppet makes directories below the home of another user than root, which are not used here.
Dir.mktmpdir do |home|
  ENV['HOME'] = home
  Puppet.initialize_settings(['--confdir', confdir, '--codedir', codedir, '--vardir', vardir])
end
modules = Puppet[:basemodulepath].split(File::PATH_SEPARATOR)
paths = Puppet[:environmentpath].split(File::PATH_SEPARATOR)
environments = paths.flat_map { |path| Puppet::Environments::Directories.new(path, modules).list }
service = Puppet::InfoService::ClassInformationService.new
found = environments.map do |environment|
  manifests = environment.modules.map { |one| File.join(one.path, 'manifests') } << environment.manifest.to_s
  files = manifests.flat_map { |path| File.file?(path) ? [path] : Dir.glob(File.join(path, '**', '*.pp')) }.sort
  read = service.classes_per_environment(environment.name => files)[environment.name]
  wrong, right = read.partition { |_, result| result[:error] }
  classes = right.flat_map { |_, result| result[:classes] }
  {
    name: environment.name,
    classes: classes.map { |one| { name: one[:name], parameters: one[:params].map { |parameter| parameter[:name] } } },
    errors: wrong.map { |_, result| result[:error] },
  }
end
puts JSON.generate(found)
