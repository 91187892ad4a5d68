-- The seeded load: random payments of 1,000 users.
--
--   wrk -t12 -c400 -d30s --latency -s tests/load/payment.lua http://127.0.0.1:8080
--
-- payment_id and idempotency_key are drawn from 100,000 each, independently: sooner or later most
-- requests repeat a key (422: it was used for another request) or a payment (409). That is the load;
-- what must never come is a 5xx. `done` prints how often each status came.

local counts = {}

-- Each thread has its own sequence of requests. With one seed for two of them, each asks for what the
-- other has asked for: repeats, whose answer is the first one's.
function setup(thread)
  thread:set("number", #counts)
  table.insert(counts, thread)
end

function init(args)
  math.randomseed(os.time() * 100 + number)
  statuses = ""
  seen = {}
end

function request()
  local body = string.format(
    '{"payment_id":"PAY_%d","user_id":"USER_%d","amount":%.2f,"currency":"USD","payment_method":"credit_card","idempotency_key":"KEY_%d"}',
    math.random(1, 100000), math.random(1, 1000), math.random(1, 1000) / 100, math.random(1, 100000))
  return wrk.format("POST", "/api/v1/payment", { ["Content-Type"] = "application/json" }, body)
end

function response(status)
  seen[status] = (seen[status] or 0) + 1
  statuses = ""
  for code, count in pairs(seen) do
    statuses = statuses .. code .. "=" .. count .. " "
  end
end

function done(summary, latency)
  local total = {}
  for _, thread in ipairs(counts) do
    for code, count in string.gmatch(thread:get("statuses"), "(%d+)=(%d+)") do
      total[code] = (total[code] or 0) + tonumber(count)
    end
  end
  local line = {}
  for code, count in pairs(total) do
    table.insert(line, string.format('"%s":%d', code, count))
  end
  table.sort(line)
  io.write(string.format(
    'result {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,"socket_errors":%d,"statuses":{%s}}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    table.concat(line, ",")))
end
