//! nginx, stock and with cenote's pools, side by side under the same requests.
