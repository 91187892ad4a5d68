//! Routes of the API. A method of a path is registered with the scope that it needs; without one it is no
//! [`Methods`], and [`Routes`] does not take it.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use commands::access::Scope;
use futures::future::Either;

use super::identity::{Identity, past_the_edge};
use crate::problem::Problem;
use crate::shared::Shared;

/// Paths with their methods.
pub(crate) struct Routes(Router<Arc<Shared>>);

/// The methods of a path, each behind its scope.
pub(crate) struct Methods(MethodRouter<Arc<Shared>>);

impl Routes {
    pub(crate) fn new() -> Self {
        Self(Router::new())
    }

    pub(crate) fn route(self, path: &str, methods: Methods) -> Self {
        Self(self.0.route(path, methods.0))
    }

    pub(crate) fn into_router(self) -> Router<Arc<Shared>> {
        self.0
    }
}

/// GET, for callers that have a scope.
pub(crate) fn get<H, T>(scope: Scope, handler: H) -> Methods
where
    H: Handler<T, Arc<Shared>>,
    T: 'static,
{
    Methods(routing::get(Scoped { scope, handler }))
}

/// POST, for callers that have a scope.
pub(crate) fn post<H, T>(scope: Scope, handler: H) -> Methods
where
    H: Handler<T, Arc<Shared>>,
    T: 'static,
{
    Methods(routing::post(Scoped { scope, handler }))
}

impl Methods {
    /// Answers GET as well.
    pub(crate) fn get<H, T>(self, scope: Scope, handler: H) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        Self(self.0.get(Scoped { scope, handler }))
    }

    /// Answers PATCH as well.
    pub(crate) fn patch<H, T>(self, scope: Scope, handler: H) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        Self(self.0.patch(Scoped { scope, handler }))
    }

    /// Answers DELETE as well.
    pub(crate) fn delete<H, T>(self, scope: Scope, handler: H) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        Self(self.0.delete(Scoped { scope, handler }))
    }
}

/// A handler behind a scope.
#[derive(Clone)]
struct Scoped<H> {
    scope: Scope,
    handler: H,
}

impl<H, T, S> Handler<T, S> for Scoped<H>
where
    H: Handler<T, S>,
    S: Send + Sync + 'static,
{
    type Future = Either<Ready<Response>, H::Future>;

    fn call(self, request: Request, state: S) -> Self::Future {
        match may_pass(&request, self.scope) {
            Ok(()) => Either::Right(self.handler.call(request, state)),
            Err(problem) => Either::Left(ready(problem.into_response())),
        }
    }
}

fn may_pass(request: &Request, scope: Scope) -> Result<(), Problem> {
    let identity = request.extensions().get::<Arc<Identity>>().ok_or_else(past_the_edge)?;
    if identity.scopes.has(scope) { Ok(()) } else { Err(lacks(scope)) }
}

fn lacks(scope: Scope) -> Problem {
    let challenge = match scope {
        Scope::Read => r#"Bearer realm="payments", error="insufficient_scope", scope="read""#,
        Scope::Write => r#"Bearer realm="payments", error="insufficient_scope", scope="write""#,
        Scope::Operate => r#"Bearer realm="payments", error="insufficient_scope", scope="operate""#,
    };
    let detail = format!("This needs the scope `{}`, which these credentials do not have.", scope.name());
    Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", detail).challenge(challenge)
}
