//! Health: serving while this node can serve.

use core::convert::Infallible;
use core::future::pending;

use kv_proto::admin::v1::admin_server::AdminServer;
use kv_proto::kv::v1::kv_server::KvServer;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::admin::AdminService;
use super::kv_service::KvService;
use crate::node::Handle;
use crate::readiness::is_ready;

/// Keeps the health service informed, for ever.
pub(super) async fn report(handle: Handle, reporter: HealthReporter) -> Infallible {
    let mut leadership = handle.shared.published.watch_leadership();
    // The operators' door is open whether or not there is a leader.
    reporter.set_serving::<AdminServer<AdminService>>().await;
    loop {
        leadership.borrow_and_update();
        let status = if is_ready(&handle) {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        reporter.set_service_status("", status).await;
        if status == ServingStatus::Serving {
            reporter.set_serving::<KvServer<KvService>>().await;
        } else {
            reporter.set_not_serving::<KvServer<KvService>>().await;
        }
        if leadership.changed().await.is_err() {
            // The node is gone, and this door with it.
            return pending().await;
        }
    }
}
