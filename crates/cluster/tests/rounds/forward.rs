//! What a transport around another one leaves as it is.

/// The named methods of [`cluster::Transport`], passed on to `self.inner`.
macro_rules! forward {
    ($($method:ident)*) => { $(forward!(@ $method);)* };
    (@ now) => { fn now(&self) -> f64 { self.inner.now() } };
    (@ real_time) => { fn real_time(&self) -> bool { self.inner.real_time() } };
    (@ start) => {
        fn start(&mut self, task: cluster::Task, model: &cluster::Model) -> Result<(), cluster::TransportError> {
            self.inner.start(task, model)
        }
    };
    (@ verdict) => {
        fn verdict(&mut self, header: &cluster::Header, send: bool) -> Result<(), cluster::TransportError> {
            self.inner.verdict(header, send)
        }
    };
    (@ poll) => {
        fn poll(&mut self, until: f64, events: &mut Vec<cluster::Event>) -> Result<(), cluster::TransportError> {
            self.inner.poll(until, events)
        }
    };
    (@ progress) => {
        fn progress(&mut self) -> Result<(), cluster::TransportError> { self.inner.progress() }
    };
    (@ publish) => {
        fn publish(&mut self, plan: &gradient_code::Plan) -> Result<(), cluster::TransportError> {
            self.inner.publish(plan)
        }
    };
    (@ recall) => {
        fn recall(&mut self, worker: usize) -> Result<(), cluster::TransportError> {
            self.inner.recall(worker)
        }
    };
    (@ restore) => {
        fn restore(&mut self, memory: cluster::Memory) -> Result<(), cluster::TransportError> {
            self.inner.restore(memory)
        }
    };
    (@ recycle) => { fn recycle(&mut self, frame: cluster::Buffer) { self.inner.recycle(frame) } };
    (@ traffic) => { fn traffic(&self) -> cluster::Traffic { self.inner.traffic() } };
    (@ finish) => { fn finish(&mut self, code: u8) -> cluster::Ending { self.inner.finish(code) } };
}
