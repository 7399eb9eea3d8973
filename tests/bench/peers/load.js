// k6's side of `python -m tests.bench load`: the same POST as everybody else's, closed or at a constant rate.
import http from 'k6/http';

const rate = Number(__ENV.RATE);
export const options = {
  scenarios: {
    load: rate
      ? { executor: 'constant-arrival-rate', rate: rate, timeUnit: '1s', duration: __ENV.SECONDS + 's',
          preAllocatedVUs: 200, maxVUs: 2000 }
      : { executor: 'constant-vus', vus: Number(__ENV.CONNECTIONS), duration: __ENV.SECONDS + 's' },
  },
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
};

export default function () {
  http.post(__ENV.URL + '/retrieve', '{"query":"question","top_k":5}', { headers: { 'Content-Type': 'application/json' } });
}
