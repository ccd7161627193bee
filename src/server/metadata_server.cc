#include "server/metadata_server.h"

#include <utility>

#include "client/local_host.h"

#include "metadata/namespace.h"
#include "segment/segment_files.h"
#include "server/deployment.h"

namespace imss::server {

Result<std::unique_ptr<MetadataServer>> MetadataServer::start(
    const MetadataServerOptions& options) {
  std::unique_ptr<MetadataServer> server(new MetadataServer());
  server->segment_name_ = segment::file_name(segment::Role::kMetadata, options.port, options.rank);

  segment::HostOptions host;
  host.create.role = segment::Role::kMetadata;
  host.create.capacity_bytes =
      options.capacity_bytes != 0 ? options.capacity_bytes : default_metadata_capacity();
  host.create.port = options.port;
  host.create.rank = options.rank;
  host.create.attached = options.attached;
  host.create.host_name = client::local_host_name();
  host.name = server->segment_name_;
  host.take_over = !options.attached;
  IMSS_ASSIGN_OR_RETURN(server->host_, segment::Host::start(std::move(host)));

  const bool new_segment = !server->host_->took_over();
  if (new_segment) {
    IMSS_RETURN_IF_ERROR(metadata::Namespace(server->host_->segment()).format());
  }
  if (!options.metadata_file.empty()) {
    // Read back into the formatted segment, which nobody can see yet.
    IMSS_ASSIGN_OR_RETURN(server->journaller_, metadata::Journaller::start(server->host_->segment(),
                                                                           options.metadata_file, !new_segment));
  }
  IMSS_RETURN_IF_ERROR(server->host_->publish());
  return server;
}

MetadataServer::~MetadataServer() { stop(false); }

void MetadataServer::stop(bool retire) {
  if (stopped_ || !host_) return;
  stopped_ = true;
  if (journaller_) journaller_->stop();
  host_->stop(retire);
  host_->segment()->leave();  // who started it has formatted it
}

}  // namespace imss::server
