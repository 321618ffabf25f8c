module baseline_go_netpoller

go 1.19
