// A Walplex sink: one JSON line for each transaction that ends in the WAL.
import { serve } from './plugin.js'
import { service, type } from './service.js'

serve(type, service)
