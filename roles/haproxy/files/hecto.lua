-- Written by Ansible: role haproxy.

-- Let a new connection wait until exactly one server is the primary. None: another is about to be. Several: HAProxy has just started and
-- has not asked them yet, or the old one has not heard that it is no more. Without this HAProxy closes it at once, or chooses one of them.
core.register_action("wait_for_primary", { "tcp-req" }, function(txn, backend, patience)
    local waited = 0
    while waited < tonumber(patience) do
        local up = 0
        for _, server in pairs(core.backends[backend].servers) do
            if string.find(server:get_stats()["status"], "^UP") then
                up = up + 1
            end
        end
        if up == 1 then
            return
        end
        core.msleep(50)
        waited = waited + 50
    end
    txn:Info("no primary for " .. patience .. " ms: a connection to " .. backend .. " is refused")
    return act.DENY
end, 2)
