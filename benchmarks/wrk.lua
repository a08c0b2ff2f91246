-- Posts its argument, if there is one.
init = function(arguments)
    if arguments[1] then
        wrk.method, wrk.body = "POST", arguments[1]
        wrk.headers["Content-Type"] = "application/json"
    end
end

-- Tells what wrk measured as one line of JSON: requests a second, seconds of the slowest per cent, errors.
done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format('{"rate": %f, "p99": %f, "errors": %d}\n',
        summary.requests / summary.duration * 1e6,
        latency:percentile(99) / 1e6,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
